/* SPDX-License-Identifier: Apache-2.0
 *
 * A stand-in for the CUDA driver library: NVIDIA's CDI looks for its file to find the driver, and a
 * program that asks it for a GPU is told the truth.
 */
#define API __attribute__((visibility("default")))
#define INVALID_VALUE 1
#define NO_DEVICE 100

API int cuInit(unsigned int flags)
{
    (void)flags;
    return NO_DEVICE;
}

API int cuDriverGetVersion(int *version)
{
    if (!version)
        return INVALID_VALUE;
    *version = 13000;
    return 0;
}

API int cuDeviceGetCount(int *count)
{
    if (!count)
        return INVALID_VALUE;
    *count = 0;
    return NO_DEVICE;
}
