/* SPDX-License-Identifier: Apache-2.0
 *
 * A small stand-in for nvidia-smi: lists the GPUs that the (mock) management library shows.
 */
#include <stdio.h>
#include <string.h>

int nvmlInit_v2(void);
const char *nvmlErrorString(int code);
int nvmlSystemGetDriverVersion(char *version, unsigned int length);
int nvmlDeviceGetCount_v2(unsigned int *count);
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device);
int nvmlDeviceGetName(void *device, char *name, unsigned int length);
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int length);

int main(int argc, char **argv)
{
    int list = argc == 2 && (!strcmp(argv[1], "-L") || !strcmp(argv[1], "--list-gpus"));
    char version[80], name[96], uuid[96];
    unsigned int count;
    void *device;
    int code;

    if (argc > 1 && !list) {
        fprintf(stderr, "nvidia-smi (mock driver): only -L is known, not %s\n", argv[1]);
        return 2;
    }
    code = nvmlInit_v2();
    if (code) {
        fprintf(stderr, "nvidia-smi (mock driver): NVML: %s\n", nvmlErrorString(code));
        return code;
    }
    if (!list && nvmlSystemGetDriverVersion(version, sizeof(version)) == 0)
        printf("Mock driver version %s: no GPU is behind this.\n", version);
    if (nvmlDeviceGetCount_v2(&count))
        return 1;
    for (unsigned int i = 0; i < count; i++) {
        if (nvmlDeviceGetHandleByIndex_v2(i, &device) ||
            nvmlDeviceGetName(device, name, sizeof(name)) ||
            nvmlDeviceGetUUID(device, uuid, sizeof(uuid)))
            return 1;
        printf("GPU %u: %s (UUID: %s)\n", i, name, uuid);
    }
    return 0;
}
