/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the mock management library share.
 */
#ifndef MOCK_NVML_H
#define MOCK_NVML_H

#include <stdbool.h>

#define API __attribute__((visibility("default")))

enum {
    OK = 0,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    TIMEOUT = 10,
    OUT_OF_MEMORY = 20,
};

/* The roots to look below, best first; ends with NULL. */
void roots(const char *found[3]);

/* A handle is the minor number and one, so that none is NULL. */
void *handle_of(unsigned int minor_number);

/* Whether there is a GPU with this handle. */
bool known(void *device);

#endif
