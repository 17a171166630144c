/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults: one is reported for each file with "MINOR XID" that is moved into /run/nvidia-mock/xid.
 */
#include "mock_nvml.h"

#include <dirent.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EVENT_XID 8ULL
#define POLL_MS 50

/* Size and offsets are those of the library's ABI; a wrong one must not compile. */
struct event {
    void *device;
    unsigned long long type, data;
    unsigned int gpu_instance, compute_instance;
};
_Static_assert(sizeof(struct event) == 32, "nvmlEventData_t");
_Static_assert(offsetof(struct event, type) == 8, "nvmlEventData_t.eventType");
_Static_assert(offsetof(struct event, data) == 16, "nvmlEventData_t.eventData");
_Static_assert(offsetof(struct event, gpu_instance) == 24, "nvmlEventData_t.gpuInstanceId");

/* Where a listener is: the last file it was told of, in the order of arrival. */
struct event_set {
    struct timespec arrived;
    char name[NAME_MAX + 1];
};

static int compare(const struct event_set *left, const struct event_set *right)
{
    if (left->arrived.tv_sec != right->arrived.tv_sec)
        return left->arrived.tv_sec < right->arrived.tv_sec ? -1 : 1;
    if (left->arrived.tv_nsec != right->arrived.tv_nsec)
        return left->arrived.tv_nsec < right->arrived.tv_nsec ? -1 : 1;
    return strcmp(left->name, right->name);
}

/* The first file after `last` (with `newest`, the last of all); false if there is none. */
static bool next_file(const struct event_set *last, bool newest, struct event_set *found,
                      char path[PATH_MAX])
{
    const char *candidates[3];
    bool any = false;

    roots(candidates);
    for (int i = 0; candidates[i] && !any; i++) {
        char folder[PATH_MAX / 2];
        struct dirent *entry;
        DIR *open;

        snprintf(folder, sizeof(folder), "%s/run/nvidia-mock/xid", candidates[i]);
        open = opendir(folder);
        if (!open)
            continue;
        while ((entry = readdir(open))) {
            struct event_set each;
            char each_path[PATH_MAX];
            struct stat shown;

            snprintf(each_path, sizeof(each_path), "%s/%s", folder, entry->d_name);
            if (entry->d_name[0] == '.' || stat(each_path, &shown) != 0)
                continue;
            /* Moving a file into the folder sets its time of change. */
            each.arrived = shown.st_ctim;
            strcpy(each.name, entry->d_name);
            if (compare(&each, last) <= 0)
                continue;
            if (any && (compare(&each, found) < 0) == newest)
                continue;
            *found = each;
            strcpy(path, each_path);
            any = true;
        }
        closedir(open);
    }
    return any;
}

API int nvmlEventSetCreate(struct event_set **set)
{
    static const struct event_set beginning;
    struct event_set found;
    char path[PATH_MAX];

    if (!set)
        return INVALID_ARGUMENT;
    *set = calloc(1, sizeof(**set));
    if (!*set)
        return OUT_OF_MEMORY;
    /* Only what happens from now on counts. */
    if (next_file(&beginning, true, &found, path))
        **set = found;
    return OK;
}

API int nvmlEventSetFree(struct event_set *set)
{
    free(set);
    return OK;
}

API int nvmlDeviceGetSupportedEventTypes(void *device, unsigned long long *types)
{
    if (!known(device) || !types)
        return INVALID_ARGUMENT;
    *types = EVENT_XID;
    return OK;
}

API int nvmlDeviceRegisterEvents(void *device, unsigned long long types, struct event_set *set)
{
    if (!known(device) || !set)
        return INVALID_ARGUMENT;
    return types & ~EVENT_XID ? NOT_SUPPORTED : OK;
}

API int nvmlEventSetWait_v2(struct event_set *set, struct event *event, unsigned int timeout_ms)
{
    if (!set || !event)
        return INVALID_ARGUMENT;
    for (unsigned int waited = 0;; waited += POLL_MS) {
        struct event_set found;
        char path[PATH_MAX];

        while (next_file(set, false, &found, path)) {
            unsigned int number = 0, xid = 0;
            FILE *file = fopen(path, "r");
            int fields = file ? fscanf(file, "%u %u", &number, &xid) : 0;

            if (file)
                fclose(file);
            *set = found;
            if (fields != 2 || !known(handle_of(number)))
                continue;
            memset(event, 0, sizeof(*event));
            event->device = handle_of(number);
            event->type = EVENT_XID;
            event->data = xid;
            event->gpu_instance = event->compute_instance = 0xFFFFFFFF;
            return OK;
        }
        if (waited >= timeout_ms)
            return TIMEOUT;
        usleep(POLL_MS * 1000);
    }
}

API int nvmlEventSetWait(struct event_set *set, struct event *event, unsigned int timeout_ms)
{
    return nvmlEventSetWait_v2(set, event, timeout_ms);
}
