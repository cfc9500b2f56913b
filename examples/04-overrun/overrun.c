/* SPDX-License-Identifier: MIT */
/* Off by one, read and write, over and under: with a guard at the object's edge the first wrong byte faults. */
#include "../experiment.h"

#define SIZE 24

static void read_byte(void *byte) { (void)*(volatile char *)byte; }
static void write_byte(void *byte) { *(volatile char *)byte = 1; }

static void expect(void (*access)(void *), char *object, ptrdiff_t index, ptrdiff_t distance) {
    struct vmarena_fault fault = {.signo = 0};
    char words[256];
    bool writes = access == write_byte;
    must_be(vmarena_try(access, object + index, &fault) == (distance != 0),
            "the object's own bytes, and no others, work");
    if (distance != 0) {
        must_be(fault.object == object && fault.object_size == SIZE, "the fault is attributed to the object");
        must_be(fault.distance == distance, "the fault's distance is that of the byte from the object");
        must_be(fault.address == object + index, "the fault's address is that of the byte");
        must_be(access_is(&fault, writes ? VMARENA_ACCESS_WRITE : VMARENA_ACCESS_READ),
                "the fault was for this access");
    }
    vmarena_fault_describe(&fault, words, sizeof words);
    printf("%s byte %td: %s\n", writes ? "writing" : "reading", index, words);
}

static char *fenced_object(enum vmarena_fence fence, const char *name) {
    struct vmarena_options options = {.fence = fence, .name = name};
    struct vmarena *arena;
    must_work(vmarena_create(&arena, &options) == 0, "vmarena_create");
    return must_alloc(arena, SIZE, 1);
}

int main(void) {
    char *object = fenced_object(VMARENA_FENCE_END, "over");
    printf("an object of %d bytes at %p ends at a guard page\n", SIZE, (void *)object);
    expect(read_byte, object, SIZE - 1, 0);
    expect(read_byte, object, SIZE, 1);
    expect(write_byte, object, SIZE, 1);

    object = fenced_object(VMARENA_FENCE_START, "under");
    printf("an object of %d bytes at %p starts after a guard page\n", SIZE, (void *)object);
    expect(read_byte, object, 0, 0);
    expect(read_byte, object, -1, -1);
    expect(write_byte, object, -1, -1);
    return 0;
}
