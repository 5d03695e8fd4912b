/* Reads a parity kit of soundalike, and records what a port computes. C99, for little-endian machines.

   A file is "SAKIT\0\0\1", 8 bytes that are the id of the inputs, and tensors:
     u32 length of the name; the name, padded with 1 to 4 zeros to a multiple of 4 bytes;
     u32 number of axes; u32 size of each axis; f32 values, the last axis fastest
   and ends with a u32 of 0. In a kit, names are `input/input`, `input/input:1`, ..., those of stages, and
   `floor.free/STAGE` and `floor.forced/STAGE`. Integers among the inputs are f32 as well.

     kit k;
     if (kit_open(&k, "network.sak", "port.sak")) return 1;
     for (k.forced = 0; k.forced < 2; k.forced++) {    // the second time, each stage reads the reference's values
         kit_read(&k, "input/input", x, 3 * 40);
         conv(x, y);
         printf("conv: R %.2f\n", kit_step(&k, "conv", y, 8 * 40));
         ...
     }
     return kit_close(&k) != 0;                        // soundalike.compare(reference, "port.sak") */
#ifndef KIT_H
#define KIT_H

#include <stdint.h>
#include <stdio.h>

enum { KIT_AXES = 8, KIT_NAME = 256 };

typedef struct {
    FILE *in, *out;
    int forced; /* whether the reference feeds the stages; set it between runs */
    int failed;
    uint32_t axes, size[KIT_AXES]; /* of the tensor that was found last */
} kit;

/* Opens the kit `in`, and creates `out` for what the port computes. Returns 0, or -1: then call nothing else. */
int kit_open(kit *k, const char *in, const char *out);

/* Reads a tensor of `count` values. Returns 0, or -1. */
int kit_read(kit *k, const char *name, float *values, uint32_t count);

/* Records the output of a stage, in the reference's order of axes. Where `forced` is set, `values` are the reference's
   afterwards. Returns R, the error in units of the rounding of PyTorch's own f32: below 4 it is only rounding. Returns
   -1 for a stage that is not in the kit, or not with `count` values. */
double kit_step(kit *k, const char *name, float *values, uint32_t count);

/* Ends the recording. Returns 0, or -1 if anything has failed. */
int kit_close(kit *k);

#endif
