/* SPDX-License-Identifier: MIT */
#include "record_check.h"

#include <stddef.h>
#include <string.h>

static bool ends(const char *string, size_t size) { return memchr(string, '\0', size) != NULL; }

static bool is_stack(const struct vmarena_report *report, const struct vmarena_report_stack *stack) {
    if (stack->count > VMARENA_REPORT_FRAMES) return false;
    for (uint64_t i = 0; i < stack->count; i++)
        if (stack->frames[i].module > report->modules || stack->frames[i].exact > 1) return false;
    return true;
}

static bool has_modules(const struct vmarena_report *report) {
    if (report->modules > VMARENA_REPORT_MODULES) return false;
    for (uint64_t i = 0; i < report->modules; i++)
        if (report->module[i][0] != '/' || !ends(report->module[i], VMARENA_REPORT_PATH)) return false;
    return true;
}

static const char *find_bad_field(const struct vmarena_report *report) {
    if (report->kind >= VMARENA_REPORT_KINDS) return "kind";
    if (report->access > VMARENA_BY_EXEC) return "access";
    if (report->call > VMARENA_FOUND_IN_SYSTEM_CALL) return "call";
    if (!ends(report->program, sizeof report->program)) return "program";
    if (!ends(report->call_name, sizeof report->call_name)) return "call_name";
    if (!ends(report->where, sizeof report->where)) return "where";
    if (report->has_object > 1 || report->freed > 1) return "object";
    if (!has_modules(report)) return "modules";
    if (!is_stack(report, &report->access_stack)) return "access_stack";
    if (!is_stack(report, &report->alloc_stack)) return "alloc_stack";
    if (!is_stack(report, &report->free_stack)) return "free_stack";
    if (report->window_length > VMARENA_REPORT_BYTES) return "window_length";
    return NULL;
}

bool vmarena_record_take(struct vmarena_report *copy, const struct vmarena_report *shared, const char **field) {
    memcpy(copy, shared, sizeof *copy);
    __asm__ volatile(""
                     :
                     : "r"(copy)
                     : "memory"); /* the checks look at the copy, and never at the shared memory again */
    *field = find_bad_field(copy);
    return *field == NULL;
}
