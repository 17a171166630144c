/* SPDX-License-Identifier: Apache-2.0
 *
 * A stand-in for NVIDIA's management library, for hosts without GPUs: as much of it as the device
 * plugin, the container toolkit, GPU feature discovery and this collection's gpu_info call.
 *
 * There is one GPU for each device node nvidiaN below /dev, so a container that was given one node
 * sees one GPU. In a container without any nodes the driver root that is mounted at /driver-root is
 * looked at. A GPU's UUID is the host's serial number and N: the same on the host and in every
 * container, because NVIDIA's CDI mounts the firmware file that holds the serial number.
 *
 * The library is opened and closed again often, so it keeps nothing between calls.
 *
 * MOCK_NVML_ROOT, for tests, stands for the root of all these paths; its device nodes may be
 * ordinary files. MOCK_NVML_INIT is then the number that nvmlInit returns.
 */
#include "mock_nvml.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define MAX_GPUS 64
#define NVIDIA_MAJOR 195
#define MIB (1024ULL * 1024ULL)
#define GPU_NAME "NVIDIA H100 80GB HBM3 (mock)"
#define GPU_MEMORY (81559 * MIB)
#define GPU_MEMORY_RESERVED (551 * MIB)

/* Sizes and offsets are those of the library's ABI; a wrong one must not compile. */
struct pci_info {
    char bus_id_legacy[16];
    unsigned int domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};
_Static_assert(sizeof(struct pci_info) == 68, "nvmlPciInfo_t");
_Static_assert(offsetof(struct pci_info, domain) == 16, "nvmlPciInfo_t.domain");
_Static_assert(offsetof(struct pci_info, bus_id) == 36, "nvmlPciInfo_t.busId");

struct memory {
    unsigned long long total, free, used;
};
_Static_assert(sizeof(struct memory) == 24, "nvmlMemory_t");

struct memory_v2 {
    unsigned int version;
    unsigned long long total, reserved, free, used;
};
_Static_assert(sizeof(struct memory_v2) == 40, "nvmlMemory_v2_t");
#define MEMORY_V2 (sizeof(struct memory_v2) | 2U << 24)

struct utilization {
    unsigned int gpu, memory;
};
_Static_assert(sizeof(struct utilization) == 8, "nvmlUtilization_t");

/* ------------------------------------------------------------------ what the host has */

static const char *test_root(void)
{
    return getenv("MOCK_NVML_ROOT");
}

void roots(const char *found[3])
{
    const char *test = test_root();

    found[0] = test ? test : "";
    found[1] = test ? NULL : "/driver-root";
    found[2] = NULL;
}

static bool is_node(const char *path, unsigned int minor_number)
{
    struct stat shown;

    if (stat(path, &shown) != 0)
        return false;
    if (test_root())
        return true;
    return S_ISCHR(shown.st_mode) && major(shown.st_rdev) == NVIDIA_MAJOR &&
           minor(shown.st_rdev) == minor_number;
}

/* The root below which the driver has its control node; NULL if it has none. */
static const char *driver_root(void)
{
    const char *candidates[3];
    char path[PATH_MAX];

    roots(candidates);
    for (int i = 0; candidates[i]; i++) {
        snprintf(path, sizeof(path), "%s/dev/nvidiactl", candidates[i]);
        if (is_node(path, 255))
            return candidates[i];
    }
    return NULL;
}

static unsigned int gpus(unsigned int minors[MAX_GPUS])
{
    const char *root = driver_root();
    unsigned int count = 0;
    char path[PATH_MAX];

    for (unsigned int n = 0; root && n < MAX_GPUS; n++) {
        snprintf(path, sizeof(path), "%s/dev/nvidia%u", root, n);
        if (is_node(path, n))
            minors[count++] = n;
    }
    return count;
}

/* 32 hexadecimal digits; zeros where the firmware file is not there. */
static void serial(char digits[33])
{
    static const char *const folders[] = {"/usr/lib", "/lib"};
    const char *candidates[3];
    char path[PATH_MAX];

    memset(digits, '0', 32);
    digits[32] = '\0';
    roots(candidates);
    for (int i = 0; candidates[i]; i++) {
        for (size_t k = 0; k < sizeof(folders) / sizeof(*folders); k++) {
            FILE *file;
            char text[33];

            snprintf(path, sizeof(path), "%s%s/firmware/nvidia/" MOCK_VERSION "/gsp_mock.bin",
                     candidates[i], folders[k]);
            file = fopen(path, "r");
            if (!file)
                continue;
            if (fread(text, 1, 32, file) == 32) {
                text[32] = '\0';
                if (strspn(text, "0123456789abcdef") == 32)
                    memcpy(digits, text, 33);
            }
            fclose(file);
            return;
        }
    }
}

static void uuid_of(unsigned int n, char uuid[41])
{
    char s[33];

    serial(s);
    snprintf(uuid, 41, "GPU-%.8s-%.4s-%.4s-%.4s-%.10s%02x", s, s + 8, s + 12, s + 16, s + 20, n);
}

static void bus_of(unsigned int n, char bus[17])
{
    snprintf(bus, 17, "00000000:%02X:00.0", 0x10 + n);
}

void *handle_of(unsigned int n)
{
    return (void *)(uintptr_t)(n + 1);
}

static unsigned int minor_of(void *device)
{
    return (unsigned int)(uintptr_t)device - 1;
}

bool known(void *device)
{
    unsigned int minors[MAX_GPUS];
    unsigned int count = gpus(minors);

    for (unsigned int i = 0; i < count; i++)
        if (handle_of(minors[i]) == device)
            return true;
    return false;
}

static int text_to(char *target, unsigned int length, const char *text)
{
    if (!target)
        return INVALID_ARGUMENT;
    if (strlen(text) >= length)
        return INSUFFICIENT_SIZE;
    strcpy(target, text);
    return OK;
}

/* ------------------------------------------------------------------ library and system */

API int nvmlInit_v2(void)
{
    const char *answer = getenv("MOCK_NVML_INIT");

    if (test_root() && answer && *answer)
        return atoi(answer);
    return driver_root() ? OK : DRIVER_NOT_LOADED;
}

API int nvmlInit(void)
{
    return nvmlInit_v2();
}

API int nvmlInitWithFlags(unsigned int flags)
{
    (void)flags;
    return nvmlInit_v2();
}

API int nvmlShutdown(void)
{
    return OK;
}

API const char *nvmlErrorString(int code)
{
    switch (code) {
    case OK: return "Success";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case TIMEOUT: return "Timeout";
    case 15: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    case OUT_OF_MEMORY: return "Out of memory";
    default: return "Unknown Error";
    }
}

API int nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    return text_to(version, length, MOCK_VERSION);
}

API int nvmlSystemGetNVMLVersion(char *version, unsigned int length)
{
    return text_to(version, length, "13." MOCK_VERSION);
}

API int nvmlSystemGetCudaDriverVersion(int *version)
{
    if (!version)
        return INVALID_ARGUMENT;
    *version = 13000;
    return OK;
}

API int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    return nvmlSystemGetCudaDriverVersion(version);
}

/* ------------------------------------------------------------------ finding a GPU */

API int nvmlDeviceGetCount_v2(unsigned int *count)
{
    unsigned int minors[MAX_GPUS];

    if (!count)
        return INVALID_ARGUMENT;
    *count = gpus(minors);
    return OK;
}

API int nvmlDeviceGetCount(unsigned int *count)
{
    return nvmlDeviceGetCount_v2(count);
}

API int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device)
{
    unsigned int minors[MAX_GPUS];

    if (!device || index >= gpus(minors))
        return INVALID_ARGUMENT;
    *device = handle_of(minors[index]);
    return OK;
}

API int nvmlDeviceGetHandleByIndex(unsigned int index, void **device)
{
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

API int nvmlDeviceGetHandleByUUID(const char *uuid, void **device)
{
    unsigned int minors[MAX_GPUS];
    unsigned int count = gpus(minors);
    char each[41];

    if (!uuid || !device)
        return INVALID_ARGUMENT;
    for (unsigned int i = 0; i < count; i++) {
        uuid_of(minors[i], each);
        if (strcmp(each, uuid) == 0) {
            *device = handle_of(minors[i]);
            return OK;
        }
    }
    return NOT_FOUND;
}

API int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **device)
{
    unsigned int minors[MAX_GPUS];
    unsigned int count = gpus(minors);
    char each[17];

    if (!bus_id || !device)
        return INVALID_ARGUMENT;
    for (unsigned int i = 0; i < count; i++) {
        bus_of(minors[i], each);
        /* With a domain of four digits too, and without one. */
        if (strcasecmp(each, bus_id) == 0 || strcasecmp(each + 4, bus_id) == 0 ||
            strcasecmp(each + 9, bus_id) == 0) {
            *device = handle_of(minors[i]);
            return OK;
        }
    }
    return NOT_FOUND;
}

/* ------------------------------------------------------------------ describing a GPU */

API int nvmlDeviceGetIndex(void *device, unsigned int *index)
{
    unsigned int minors[MAX_GPUS];
    unsigned int count = gpus(minors);

    for (unsigned int i = 0; index && i < count; i++) {
        if (handle_of(minors[i]) == device) {
            *index = i;
            return OK;
        }
    }
    return INVALID_ARGUMENT;
}

API int nvmlDeviceGetName(void *device, char *name, unsigned int length)
{
    return known(device) ? text_to(name, length, GPU_NAME) : INVALID_ARGUMENT;
}

API int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int length)
{
    char text[41];

    if (!known(device))
        return INVALID_ARGUMENT;
    uuid_of(minor_of(device), text);
    return text_to(uuid, length, text);
}

API int nvmlDeviceGetMinorNumber(void *device, unsigned int *number)
{
    if (!known(device) || !number)
        return INVALID_ARGUMENT;
    *number = minor_of(device);
    return OK;
}

API int nvmlDeviceGetPciInfo_v3(void *device, struct pci_info *info)
{
    char bus[17];

    if (!known(device) || !info)
        return INVALID_ARGUMENT;
    bus_of(minor_of(device), bus);
    memset(info, 0, sizeof(*info));
    strcpy(info->bus_id, bus);
    strcpy(info->bus_id_legacy, bus + 4);
    info->bus = 0x10 + minor_of(device);
    info->pci_device_id = 0x233010DE;
    info->pci_subsystem_id = 0x16C110DE;
    return OK;
}

API int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory)
{
    if (!known(device) || !memory)
        return INVALID_ARGUMENT;
    memory->total = GPU_MEMORY;
    memory->used = GPU_MEMORY_RESERVED;
    memory->free = GPU_MEMORY - GPU_MEMORY_RESERVED;
    return OK;
}

API int nvmlDeviceGetMemoryInfo_v2(void *device, struct memory_v2 *memory)
{
    if (!known(device) || !memory || memory->version != MEMORY_V2)
        return INVALID_ARGUMENT;
    memory->total = GPU_MEMORY;
    memory->reserved = GPU_MEMORY_RESERVED;
    memory->used = 0;
    memory->free = GPU_MEMORY - GPU_MEMORY_RESERVED;
    return OK;
}

API int nvmlDeviceGetCudaComputeCapability(void *device, int *major_number, int *minor_number)
{
    if (!known(device) || !major_number || !minor_number)
        return INVALID_ARGUMENT;
    *major_number = 9;
    *minor_number = 0;
    return OK;
}

/* One number that is the same for every GPU. */
#define CONSTANT(function, value)                          \
    API int function(void *device, unsigned int *answer)   \
    {                                                      \
        if (!known(device) || !answer)                     \
            return INVALID_ARGUMENT;                       \
        *answer = value;                                   \
        return OK;                                         \
    }

CONSTANT(nvmlDeviceGetBrand, 14)
CONSTANT(nvmlDeviceGetArchitecture, 9)
CONSTANT(nvmlDeviceGetMaxMigDeviceCount, 0)
CONSTANT(nvmlDeviceIsMigDeviceHandle, 0)
CONSTANT(nvmlDeviceGetPowerUsage, 70000)

API int nvmlDeviceGetUtilizationRates(void *device, struct utilization *rates)
{
    if (!known(device) || !rates)
        return INVALID_ARGUMENT;
    memset(rates, 0, sizeof(*rates));
    return OK;
}

API int nvmlDeviceGetTemperature(void *device, int sensor, unsigned int *celsius)
{
    if (!known(device) || sensor != 0 || !celsius)
        return INVALID_ARGUMENT;
    *celsius = 30;
    return OK;
}

API int nvmlDeviceGetTopologyCommonAncestor(void *first, void *second, int *level)
{
    if (!known(first) || !known(second) || !level)
        return INVALID_ARGUMENT;
    *level = 40; /* one NUMA node */
    return OK;
}

/* Things that some GPUs do not have; their callers ask, and are told so. */
#define UNSUPPORTED(function)      \
    API int function(void *device) \
    {                              \
        (void)device;              \
        return NOT_SUPPORTED;      \
    }

UNSUPPORTED(nvmlDeviceGetMigMode)
UNSUPPORTED(nvmlDeviceGetNvLinkState)
UNSUPPORTED(nvmlDeviceGetNvLinkRemotePciInfo_v2)
UNSUPPORTED(nvmlDeviceGetGpuFabricInfo)
UNSUPPORTED(nvmlDeviceGetGpuFabricInfoV)
UNSUPPORTED(nvmlDeviceGetAddressingMode)
UNSUPPORTED(nvmlDeviceGetAttributes_v2)
UNSUPPORTED(nvmlDeviceGetGpuInstanceId)
UNSUPPORTED(nvmlDeviceGetComputeInstanceId)
UNSUPPORTED(nvmlDeviceGetMigDeviceHandleByIndex)
UNSUPPORTED(nvmlDeviceGetDeviceHandleFromMigDeviceHandle)
