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

/* ---- more: an overrun that jumps, and one that stays in the slack -------------------------------------------------------- */

/* Two objects, and an index into the first that is as far off as the second is. */
static void show_jump(size_t guard) {
    struct vmarena_options options = {.fence = VMARENA_FENCE_END, .name = "jump", .guard = guard};
    struct vmarena *arena;
    struct vmarena_fault fault;
    must_work(vmarena_create(&arena, &options) == 0, "vmarena_create");
    char *first = must_alloc(arena, SIZE, 1), *second = must_alloc(arena, SIZE, 1);
    size_t page = vmarena_page_size(), pages = guard / page;
    ptrdiff_t index = SIZE + (ptrdiff_t)(2 * page - SIZE); /* past one guard page, into what lies behind it */
    int faulted = vmarena_try(write_byte, first + index, &fault);
    if (faulted == 0) {
        must_be(first + index == second && *second == 1, "what it hit is the next object");
        printf("a guard of %zu page, and a write 2 pages further: no fault, it hit the next object\n", pages);
    } else {
        must_be(fault.object == first && fault.distance == index - SIZE + 1, "the fault is the first object's overrun");
        printf("a guard of %zu pages, and the same write: overrun, %td bytes past the end\n", pages, fault.distance);
    }
    vmarena_destroy(arena);
}

/* With an alignment the object ends before its guard does: between them reading goes unseen, and writing until later. */
static void show_slack(void) {
    struct vmarena_options options = {.fence = VMARENA_FENCE_END, .name = "slack"};
    struct vmarena *arena;
    must_work(vmarena_create(&arena, &options) == 0, "vmarena_create");
    char *object = must_alloc(arena, SIZE - 3, 8);
    must_be(vmarena_try(read_byte, object + SIZE - 3, NULL) == 0, "the slack can be read");
    printf("an object of %d bytes at a multiple of 8: reading the byte after it, no fault\n", SIZE - 3);
    must_be(vmarena_check(arena) == 0, "all is well before the slack is written to");
    must_be(vmarena_try(write_byte, object + SIZE - 3, NULL) == 0, "the slack can be written to");
    must_be(vmarena_check(arena) != 0, "what was written there is found");
    printf("writing it: no fault either, but vmarena_check says: %s\n", vmarena_explain());
    vmarena_destroy(arena);
}

int main(int argc, char **argv) {
    bool more = wants_more(argc, argv);
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
    if (more) {
        show_jump(vmarena_page_size());
        show_jump(4 * vmarena_page_size());
        show_slack();
    }
    return 0;
}
