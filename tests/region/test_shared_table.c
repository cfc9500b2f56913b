/* SPDX-License-Identifier: MIT */
/* The table of regions as another process reads it: who made it up costs the reader no more than who did not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "region/region.h"
#include "region/shared_table.h"
#include "vmarena.h"

#include "support.h"

#define TABLE_SIZE ((size_t)1 << 20)

/* As shared_table.c writes it. */
struct header {
    char magic[8];
    uint32_t version, entry_size, pointer_size, unused;
    uint64_t used, next;
};
#define ENTRIES ((TABLE_SIZE - sizeof(struct header)) / sizeof(struct vmarena_shared_entry))

struct forgery {
    size_t tables;
    uint64_t used;
    bool backwards; /* entries that end before they start */
};

static void forge_table(const struct forgery *forgery) {
    int fd = memfd_create("vmarena", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)TABLE_SIZE) == 0);
    struct header *header = mmap(NULL, TABLE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(header != MAP_FAILED);
    close(fd);
    *header = (struct header){.magic = "vmarena",
                              .version = 1,
                              .entry_size = sizeof(struct vmarena_shared_entry),
                              .pointer_size = sizeof(void *),
                              .used = forgery->used};
    struct vmarena_shared_entry *entries = (struct vmarena_shared_entry *)(void *)(header + 1);
    for (size_t i = 0; i < ENTRIES; i++) {
        uint64_t start = (i * 7919 % ENTRIES + 1) << 20, end = start + (1 << 20);
        entries[i].start = forgery->backwards ? end : start;
        entries[i].end = forgery->backwards ? start : end;
    }
}

/* A child with forged tables, and what is read of it. */
static void read_forged(const struct forgery *forgery, struct vmarena_shared_entries *found) {
    int ends[2];
    char ready;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        for (size_t i = 0; i < forgery->tables; i++) forge_table(forgery);
        CHECK(write(ends[1], "", 1) == 1);
        for (;;) pause();
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &ready, 1), 1);
    close(ends[0]);
    vmarena_shared_entries_read(found, child);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void assert_ascending(const struct vmarena_shared_entries *found) {
    for (size_t i = 1; i < found->count; i++) assert_true(found->entries[i - 1].start <= found->entries[i].start);
}

static void test_one_full_table(void **state) {
    (void)state;
    skip_without_memory_files();
    struct vmarena_shared_entries found;
    read_forged(&(struct forgery){.tables = 1, .used = ENTRIES}, &found);
    assert_int_equal(found.count, ENTRIES);
    assert_ascending(&found);
    vmarena_shared_entries_free(&found);
}

/* Hundreds of them: as many entries, in as much memory, as of one. */
static void test_many_tables_cost_what_one_does(void **state) {
    (void)state;
    skip_without_memory_files();
    struct vmarena_shared_entries found;
    read_forged(&(struct forgery){.tables = 300, .used = ENTRIES}, &found);
    assert_int_equal(found.count, ENTRIES);
    assert_int_equal(found.room, TABLE_SIZE);
    assert_ascending(&found);
    vmarena_shared_entries_free(&found);
}

/* Small ones: those of the first four tables. */
static void test_few_tables_are_looked_at(void **state) {
    (void)state;
    skip_without_memory_files();
    struct vmarena_shared_entries found;
    read_forged(&(struct forgery){.tables = 300, .used = 10}, &found);
    assert_int_equal(found.count, 40);
    vmarena_shared_entries_free(&found);
}

static void test_more_used_than_there_are(void **state) {
    (void)state;
    skip_without_memory_files();
    struct vmarena_shared_entries found;
    read_forged(&(struct forgery){.tables = 2, .used = UINT64_MAX}, &found);
    assert_int_equal(found.count, ENTRIES);
    vmarena_shared_entries_free(&found);
}

static void test_entries_that_end_before_they_start(void **state) {
    (void)state;
    skip_without_memory_files();
    struct vmarena_shared_entries found;
    read_forged(&(struct forgery){.tables = 2, .used = ENTRIES, .backwards = true}, &found);
    assert_int_equal(found.count, 0);
    vmarena_shared_entries_free(&found);
}

/* Without a descriptor there is no table; as soon as there is one, regions are entered. */
static void has_no_descriptor_at_first(void *arg) {
    struct vmarena *first, *second;
    struct rlimit limit;
    struct vmarena_mapping mapping;
    (void)arg;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, limit.rlim_max}) == 0);
    CHECK(vmarena_create(&first, &(struct vmarena_options){.reserve = 1 << 20, .name = "first"}) == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(vmarena_create(&second, &(struct vmarena_options){.reserve = 1 << 20, .name = "second"}) == 0);
    char *of_first = vmarena_alloc(first, 1, 1), *of_second = vmarena_alloc(second, 1, 1);
    fflush(NULL);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        if (vmarena_mapping_at(parent, (uintptr_t)of_first, &mapping, NULL, 0) != 0) _exit(1);
        if (mapping.owner != VMARENA_OWNER_NONE) _exit(2);
        if (vmarena_mapping_at(parent, (uintptr_t)of_second, &mapping, NULL, 0) != 0) _exit(3);
        _exit(mapping.owner == VMARENA_OWNER_ARENA && strcmp(mapping.owner_name, "second") == 0 ? 0 : 4);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    _exit(WEXITSTATUS(status));
}

static void test_a_table_is_tried_again(void **state) {
    (void)state;
    skip_without_memory_files();
    if (geteuid() != 0) {
        print_message("skip: reading the parent's memory may need privilege (Yama)\n");
        skip();
    }
    assert_exits(has_no_descriptor_at_first, NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_full_table),
        cmocka_unit_test(test_many_tables_cost_what_one_does),
        cmocka_unit_test(test_few_tables_are_looked_at),
        cmocka_unit_test(test_more_used_than_there_are),
        cmocka_unit_test(test_entries_that_end_before_they_start),
        cmocka_unit_test(test_a_table_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
