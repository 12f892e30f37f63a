/* A stand-in for NVIDIA's driver (libcuda.so.1) on machines without a GPU: accepts every call,
 * computes nothing. Programs compile their kernels by the real NVRTC and launch them here; device
 * memory is addresses without memory behind them, copies to the host give zeros.
 *
 * At the end it writes what was asked of it to the file CUDA_STAND_IN_REPORT, as JSON; with
 * CUDA_STAND_IN_PTX=<folder> it keeps the PTX of every module. CUDA_STAND_IN_SM (90) is the compute
 * capability times 10, CUDA_STAND_IN_MEMORY_GB (80) the size of the device's memory. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int result;
enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
#define LOCKED(body) do { pthread_mutex_lock(&lock); body; pthread_mutex_unlock(&lock); } while (0)

/* What is reported. */
static struct {
    uint64_t launches, modules, waits, to_device, to_device_bytes, to_host, to_host_bytes;
    uint64_t on_device, on_device_bytes, allocations, refused, in_use, peak;
} count;

/* Kernels by name. */
#define KERNELS 4096
struct function { char name[256]; uint64_t launches; };
static struct function kernels[KERNELS];
static int n_kernels;

/* Allocations by address, with open addressing. */
#define SLOTS (1 << 18)
static struct { uint64_t address, bytes; } allocated[SLOTS];
static uint64_t next_address = 0x700000000000ull;

static long setting(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

static uint64_t memory(void) { return (uint64_t)setting("CUDA_STAND_IN_MEMORY_GB", 80) << 30; }

static int slot_of(uint64_t address) {
    int i = (int)((address >> 9) * 0x9E3779B97F4A7C15ull >> 46);
    while (allocated[i].address && allocated[i].address != address) i = (i + 1) % SLOTS;
    return i;
}

static result allocate(uint64_t *address, size_t bytes) {
    result found = SUCCESS;
    LOCKED({
        count.allocations++;
        if (count.in_use + bytes > memory()) {
            count.refused++;
            found = OUT_OF_MEMORY;
        } else {
            *address = next_address;
            next_address += (bytes + 511) / 512 * 512 + 512;
            int i = slot_of(*address);
            allocated[i].address = *address;
            allocated[i].bytes = bytes;
            count.in_use += bytes;
            if (count.in_use > count.peak) count.peak = count.in_use;
        }
    });
    return found;
}

static result release(uint64_t address) {
    LOCKED({
        int i = slot_of(address);
        /* The address stays, so that later ones are found. */
        count.in_use -= allocated[i].bytes;
        allocated[i].bytes = 0;
    });
    return SUCCESS;
}

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("CUDA_STAND_IN_REPORT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file,
            "{\"launches\": %lu, \"modules\": %lu, \"waits\": %lu, \"to_device\": %lu, "
            "\"to_device_bytes\": %lu, \"to_host\": %lu, \"to_host_bytes\": %lu, \"on_device\": %lu, "
            "\"on_device_bytes\": %lu, \"allocations\": %lu, \"refused\": %lu, \"peak_bytes\": %lu, "
            "\"kernels\": {",
            count.launches, count.modules, count.waits, count.to_device, count.to_device_bytes,
            count.to_host, count.to_host_bytes, count.on_device, count.on_device_bytes,
            count.allocations, count.refused, count.peak);
    for (int i = 0; i < n_kernels; i++)
        fprintf(file, "%s\"%s\": %lu", i ? ", " : "", kernels[i].name, kernels[i].launches);
    fprintf(file, "}}\n");
    fclose(file);
}

/* Start, devices and contexts. */
result cuInit(unsigned flags) { (void)flags; return SUCCESS; }
result cuDriverGetVersion(int *version) { *version = 12090; return SUCCESS; }
result cuDeviceGetCount(int *n) { *n = 1; return SUCCESS; }
result cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal == 0 ? SUCCESS : INVALID_VALUE;
}
result cuDeviceGetName(char *name, int n, int device) {
    (void)device;
    snprintf(name, (size_t)n, "stand-in for NVIDIA H100");
    return SUCCESS;
}
result cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = memory(); return SUCCESS; }
result cuMemGetInfo_v2(size_t *left, size_t *all) {
    *all = memory();
    LOCKED(*left = memory() - count.in_use);
    return SUCCESS;
}
result cuDeviceGetPCIBusId(char *id, int n, int device) {
    (void)device;
    snprintf(id, (size_t)n, "0000:01:00.0");
    return SUCCESS;
}
result cuDeviceGetUuid_v2(char *uuid, int device) { (void)device; memset(uuid, 1, 16); return SUCCESS; }
result cuDeviceGetUuid(char *uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }
result cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    long sm = setting("CUDA_STAND_IN_SM", 90);
    switch (attribute) {
        case 1: *value = 1024; break;                       /* threads per block */
        case 2: case 3: *value = 1024; break;               /* block x, y */
        case 4: *value = 64; break;                         /* block z */
        case 5: *value = 2147483647; break;                 /* grid x */
        case 6: case 7: *value = 65535; break;              /* grid y, z */
        case 8: *value = 49152; break;                      /* shared memory per block */
        case 10: *value = 32; break;                        /* warp */
        case 16: *value = 132; break;                       /* multiprocessors */
        case 75: *value = (int)(sm / 10); break;
        case 76: *value = (int)(sm % 10); break;
        case 81: *value = 233472; break;                    /* shared memory per multiprocessor */
        case 97: *value = 232448; break;                    /* shared memory per block, opt-in */
        case 115: *value = 1; break;                        /* memory pools */
        default: *value = 0;
    }
    return SUCCESS;
}
result cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; *context = (void *)8; return SUCCESS; }
result cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return SUCCESS; }
result cuCtxSetCurrent(void *context) { (void)context; return SUCCESS; }
result cuCtxGetCurrent(void **context) { *context = (void *)8; return SUCCESS; }
result cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return SUCCESS; }
result cuCtxSynchronize(void) { LOCKED(count.waits++); return SUCCESS; }
result cuGetErrorName(int error, const char **text) {
    *text = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OF_THE_STAND_IN";
    return SUCCESS;
}
result cuGetErrorString(int error, const char **text) {
    *text = error == OUT_OF_MEMORY ? "out of memory" : "an error of the stand-in";
    return SUCCESS;
}

/* Streams and events. */
static void *handle(void) {
    static uint64_t next = 16;
    void *made;
    LOCKED(made = (void *)(next += 8));
    return made;
}
result cuStreamCreate(void **stream, unsigned flags) { (void)flags; *stream = handle(); return SUCCESS; }
result cuStreamCreateWithPriority(void **stream, unsigned flags, int priority) {
    (void)priority;
    return cuStreamCreate(stream, flags);
}
result cuStreamDestroy_v2(void *stream) { (void)stream; return SUCCESS; }
result cuStreamSynchronize(void *stream) { (void)stream; LOCKED(count.waits++); return SUCCESS; }
result cuStreamQuery(void *stream) { (void)stream; return SUCCESS; }
result cuStreamWaitEvent(void *stream, void *event, unsigned flags) { (void)stream; (void)event; (void)flags; return SUCCESS; }
result cuStreamIsCapturing(void *stream, int *status) { (void)stream; *status = 0; return SUCCESS; }
result cuEventCreate(void **event, unsigned flags) { (void)flags; *event = handle(); return SUCCESS; }
result cuEventDestroy_v2(void *event) { (void)event; return SUCCESS; }
result cuEventRecord(void *event, void *stream) { (void)event; (void)stream; return SUCCESS; }
result cuEventQuery(void *event) { (void)event; return SUCCESS; }
result cuEventSynchronize(void *event) { (void)event; LOCKED(count.waits++); return SUCCESS; }
result cuEventElapsedTime(float *ms, void *from, void *to) { (void)from; (void)to; *ms = 1; return SUCCESS; }
result cuEventElapsedTime_v2(float *ms, void *from, void *to) { return cuEventElapsedTime(ms, from, to); }

/* Memory. */
result cuMemAlloc_v2(uint64_t *address, size_t bytes) { return allocate(address, bytes); }
result cuMemFree_v2(uint64_t address) { return release(address); }
result cuMemAllocAsync(uint64_t *address, size_t bytes, void *stream) { (void)stream; return allocate(address, bytes); }
result cuMemFreeAsync(uint64_t address, void *stream) { (void)stream; return release(address); }
result cuMemAllocHost_v2(void **memory, size_t bytes) {
    *memory = calloc(1, bytes ? bytes : 1);
    return *memory ? SUCCESS : OUT_OF_MEMORY;
}
result cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) { (void)flags; return cuMemAllocHost_v2(memory, bytes); }
result cuMemFreeHost(void *memory) { free(memory); return SUCCESS; }
result cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
    (void)to; (void)from; (void)stream;
    LOCKED(count.to_device++; count.to_device_bytes += bytes);
    return SUCCESS;
}
result cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) { return cuMemcpyHtoDAsync_v2(to, from, bytes, NULL); }
result cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) {
    (void)from; (void)stream;
    memset(to, 0, bytes);
    LOCKED(count.to_host++; count.to_host_bytes += bytes);
    return SUCCESS;
}
result cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) { return cuMemcpyDtoHAsync_v2(to, from, bytes, NULL); }
result cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *stream) {
    (void)to; (void)from; (void)stream;
    LOCKED(count.on_device++; count.on_device_bytes += bytes);
    return SUCCESS;
}
/* The layout of CUDA_MEMCPY2D_v2. */
struct copy { size_t from_x, from_y; unsigned from_type; const void *from_host; uint64_t from_device; void *from_array; size_t from_pitch;
              size_t to_x, to_y; unsigned to_type; void *to_host; uint64_t to_device; void *to_array; size_t to_pitch; size_t width, height; };
result cuMemcpy2DAsync_v2(const struct copy *c, void *stream) {
    (void)stream;
    size_t bytes = c->width * c->height;
    if (c->to_type == 1)
        for (size_t y = 0; y < c->height; y++)
            memset((char *)c->to_host + (c->to_y + y) * c->to_pitch + c->to_x, 0, c->width);
    LOCKED({
        if (c->to_type == 1) { count.to_host++; count.to_host_bytes += bytes; }
        else if (c->from_type == 1) { count.to_device++; count.to_device_bytes += bytes; }
        else { count.on_device++; count.on_device_bytes += bytes; }
    });
    return SUCCESS;
}
result cuMemcpy2D_v2(const struct copy *c) { return cuMemcpy2DAsync_v2(c, NULL); }
result cuMemsetD8Async(uint64_t at, unsigned char value, size_t n, void *stream) { (void)at; (void)value; (void)n; (void)stream; return SUCCESS; }
result cuMemsetD32Async(uint64_t at, unsigned value, size_t n, void *stream) { (void)at; (void)value; (void)n; (void)stream; return SUCCESS; }

/* Modules and launches. */
result cuModuleLoadData(void **module, const void *image) {
    const char *folder = getenv("CUDA_STAND_IN_PTX");
    uint64_t n;
    LOCKED(n = count.modules++);
    if (folder) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%04lu.ptx", folder, n);
        FILE *file = fopen(path, "w");
        if (file) { fputs(image, file); fclose(file); }
    }
    *module = handle();
    return SUCCESS;
}
result cuModuleLoadDataEx(void **module, const void *image, unsigned n, void *options, void *values) {
    (void)n; (void)options; (void)values;
    return cuModuleLoadData(module, image);
}
result cuModuleUnload(void *module) { (void)module; return SUCCESS; }
result cuModuleGetFunction(void **function, void *module, const char *name) {
    (void)module;
    LOCKED({
        struct function *found = &kernels[n_kernels < KERNELS - 1 ? n_kernels++ : n_kernels];
        snprintf(found->name, sizeof found->name, "%s", name);
        *function = found;
    });
    return SUCCESS;
}
result cuFuncSetAttribute(void *function, int attribute, int value) { (void)function; (void)attribute; (void)value; return SUCCESS; }
result cuFuncGetAttribute(int *value, int attribute, void *function) { (void)attribute; (void)function; *value = 0; return SUCCESS; }
static result launched(struct function *function) {
    LOCKED(count.launches++; function->launches++);
    return SUCCESS;
}
result cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                      unsigned bz, unsigned shared, void *stream, void **params, void **extra) {
    (void)gx; (void)gy; (void)gz; (void)bx; (void)by; (void)bz; (void)shared; (void)stream; (void)params; (void)extra;
    return launched(function);
}
result cuLaunchKernelEx(const void *config, void *function, void **params, void **extra) {
    (void)config; (void)params; (void)extra;
    return launched(function);
}
