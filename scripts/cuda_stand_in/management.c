/* A stand-in for NVIDIA's management library (libnvidia-ml.so.1): one free GPU, beside the stand-in
 * for the driver. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int result;
enum { SUCCESS = 0, NOT_SUPPORTED = 3 };

static void text(char *to, unsigned n, const char *from) {
    if (n) { strncpy(to, from, n - 1); to[n - 1] = 0; }
}

result nvmlInit_v2(void) { return SUCCESS; }
result nvmlInitWithFlags(unsigned flags) { (void)flags; return SUCCESS; }
result nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(result error) { return error ? "not supported by the stand-in" : "success"; }
result nvmlSystemGetDriverVersion(char *to, unsigned n) { text(to, n, "stand-in"); return SUCCESS; }
result nvmlDeviceGetCount_v2(unsigned *n) { *n = 1; return SUCCESS; }
result nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = (void *)8;
    return index == 0 ? SUCCESS : 2;
}
result nvmlDeviceGetUUID(void *device, char *to, unsigned n) {
    (void)device;
    text(to, n, "GPU-01010101-0101-0101-0101-010101010101");
    return SUCCESS;
}
result nvmlDeviceGetName(void *device, char *to, unsigned n) {
    (void)device;
    text(to, n, "stand-in for NVIDIA H100");
    return SUCCESS;
}
struct memory { unsigned version; uint64_t total, reserved, free, used; };
result nvmlDeviceGetMemoryInfo_v2(void *device, struct memory *memory) {
    (void)device;
    const char *size = getenv("CUDA_STAND_IN_MEMORY_GB");
    memory->total = (uint64_t)(size ? atol(size) : 80) << 30;
    memory->free = memory->total;
    memory->reserved = memory->used = 0;
    return SUCCESS;
}
result nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *n, void *processes) {
    (void)device; (void)processes;
    *n = 0;
    return SUCCESS;
}
result nvmlDeviceGetComputeRunningProcesses_v2(void *device, unsigned *n, void *processes) {
    return nvmlDeviceGetComputeRunningProcesses_v3(device, n, processes);
}
result nvmlDeviceGetComputeRunningProcesses(void *device, unsigned *n, void *processes) {
    return nvmlDeviceGetComputeRunningProcesses_v3(device, n, processes);
}
