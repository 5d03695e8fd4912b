#include "kit.h"

#include <math.h>
#include <string.h>

static uint32_t get_u32(kit *k) {
    uint32_t value = 0;
    return fread(&value, 4, 1, k->in) == 1 ? value : 0;
}

static void put(kit *k, const void *data, size_t size) {
    if (fwrite(data, 1, size, k->out) != size) k->failed = 1;
}

/* Goes to the values of a tensor. Returns how many there are, or 0. */
static uint32_t find(kit *k, const char *name) {
    char found[KIT_NAME];
    uint32_t length, count;
    fseek(k->in, 16, SEEK_SET);
    while ((length = get_u32(k)) != 0) {
        if (length > KIT_NAME || fread(found, 1, length, k->in) != length || found[length - 1]) break;
        if ((k->axes = get_u32(k)) > KIT_AXES) break;
        count = 1;
        for (uint32_t i = 0; i < k->axes; i++) count *= k->size[i] = get_u32(k);
        if (!strcmp(found, name)) return count;
        fseek(k->in, 4L * (long)count, SEEK_CUR);
    }
    return 0;
}

int kit_open(kit *k, const char *in, const char *out) {
    char head[16];
    memset(k, 0, sizeof *k);
    k->in = fopen(in, "rb");
    if (!k->in || fread(head, 1, 16, k->in) != 16 || memcmp(head, "SAKIT\0\0\1", 8)) return -1;
    k->out = fopen(out, "wb");
    if (!k->out) return -1;
    put(k, head, 16);
    return -k->failed;
}

int kit_read(kit *k, const char *name, float *values, uint32_t count) {
    if (find(k, name) == count && fread(values, 4, count, k->in) == count) return 0;
    k->failed = 1;
    return -1;
}

double kit_step(kit *k, const char *name, float *values, uint32_t count) {
    char full[KIT_NAME] = {0};
    uint32_t length;
    float floor, golden;
    double error = 0, square = 0;
    snprintf(full, KIT_NAME, "floor.%s/%s", k->forced ? "forced" : "free", name);
    if (kit_read(k, full, &floor, 1)) return -1;
    if (find(k, name) != count) return k->failed = 1, -1;
    memset(full, 0, KIT_NAME);
    length = ((uint32_t)snprintf(full, KIT_NAME - 1, "%s%s", k->forced ? "forced/" : "", name) + 4) / 4 * 4;
    put(k, &length, 4);
    put(k, full, length);
    put(k, &k->axes, 4);
    put(k, k->size, 4 * k->axes);
    put(k, values, 4 * (size_t)count);
    for (uint32_t i = 0; i < count; i++) {
        if (fread(&golden, 4, 1, k->in) != 1) return k->failed = 1, -1;
        error += ((double)values[i] - golden) * ((double)values[i] - golden);
        square += (double)golden * golden;
        if (k->forced) values[i] = golden;
    }
    /* A floor is at least 2^-25 of the output. */
    return error == 0 ? 0 : sqrt(error / count) / fmax(floor, sqrt(square / count) / (1 << 25));
}

int kit_close(kit *k) {
    uint32_t end = 0;
    put(k, &end, 4);
    fclose(k->in);
    if (fclose(k->out)) k->failed = 1;
    return -k->failed;
}
