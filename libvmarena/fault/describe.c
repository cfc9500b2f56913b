/* SPDX-License-Identifier: MIT */
/* A fault in words, without stdio: signal handlers call these functions. */
#include "prim/prim.h"

#include <signal.h>
#include <stdbool.h>

#include "base/text.h"
#include "vmarena/fault.h"

/* Returns the length of the whole text, as snprintf(3) does. */
static size_t finish(struct vmarena_text *text) {
    vmarena_text_end(text);
    return text->length;
}

static const char *kind_name(const struct vmarena_fault *fault) {
    switch (fault->kind) {
    case VMARENA_FAULT_OVERRUN: return "overrun";
    case VMARENA_FAULT_UNDERRUN: return "underrun";
    case VMARENA_FAULT_USE_AFTER_FREE: return "use after free";
    case VMARENA_FAULT_PROTECTED: return "protected memory";
    case VMARENA_FAULT_UNMAPPED: return "unmapped memory";
    case VMARENA_FAULT_PAST_END_OF_FILE: return "past the end of the file";
    case VMARENA_FAULT_HARDWARE: return "hardware memory error";
    default: return "fault";
    }
}

static const char *access_name(const struct vmarena_fault *fault) {
    switch (fault->access) {
    case VMARENA_ACCESS_READ: return "read";
    case VMARENA_ACCESS_WRITE: return "write";
    case VMARENA_ACCESS_EXEC: return "execution";
    default: return "access";
    }
}

static const char *signal_name(const struct vmarena_fault *fault) {
    return fault->signo == SIGSEGV ? "SIGSEGV" : fault->signo == SIGBUS ? "SIGBUS" : "signal";
}

/* "an 8-byte object", "an 11-byte object", "an 18-byte object", "an 11,000-byte object": by how the number is spoken. */
static bool wants_an(uint64_t number) {
    uint64_t thousands = number;
    while (thousands >= 1000) thousands /= 1000;
    if (thousands == 11 || thousands == 18) return true;
    while (number >= 10) number /= 10;
    return number == 8;
}

static void add_object(struct vmarena_text *text, const struct vmarena_fault *fault) {
    vmarena_text_add(text, wants_an(fault->object_size) ? "an " : "a ");
    vmarena_text_decimal(text, fault->object_size);
    vmarena_text_add(text, "-byte object at ");
    vmarena_text_hex(text, (uintptr_t)fault->object);
}

/* "1 byte past the end of", "8 bytes before the start of", "inside": +1 is the first byte past the end. */
static void add_distance(struct vmarena_text *text, const struct vmarena_fault *fault) {
    uint64_t bytes = fault->distance < 0 ? (uint64_t)0 - (uint64_t)fault->distance : (uint64_t)fault->distance;
    if (bytes == 0) {
        vmarena_text_add(text, "inside ");
        return;
    }
    vmarena_text_decimal(text, bytes);
    vmarena_text_add(text, bytes == 1 ? " byte " : " bytes ");
    vmarena_text_add(text, fault->distance < 0 ? "before the start of " : "past the end of ");
}

static void add_owner(struct vmarena_text *text, const struct vmarena_fault *fault) {
    vmarena_text_add(text, "\"");
    vmarena_text_add(text, fault->owner_name);
    vmarena_text_add(text, "\"");
}

/* Only views set it, and views have names. */
static bool has_file_offset(const struct vmarena_fault *fault) {
    return fault->kind == VMARENA_FAULT_PAST_END_OF_FILE && fault->owner_name[0] != '\0';
}

size_t vmarena_fault_describe(const struct vmarena_fault *fault, char *buffer, size_t size) {
    struct vmarena_text text = {.start = buffer, .size = size};
    if (fault == NULL || fault->signo == 0) {
        vmarena_text_add(&text, "no fault");
        return finish(&text);
    }
    vmarena_text_add(&text, kind_name(fault));
    vmarena_text_add(&text, ": ");
    vmarena_text_add(&text, access_name(fault));
    if (fault->object != NULL) {
        vmarena_text_add(&text, " ");
        add_distance(&text, fault);
        add_object(&text, fault);
    }
    if (fault->owner_name[0] != '\0') {
        vmarena_text_add(&text, fault->kind == VMARENA_FAULT_UNMAPPED ? ", the nearest, in " : " in ");
        add_owner(&text, fault);
    }
    if (has_file_offset(fault)) {
        vmarena_text_add(&text, " at file offset ");
        vmarena_text_decimal(&text, fault->file_offset);
    }
    vmarena_text_add(&text, " (");
    vmarena_text_add(&text, signal_name(fault));
    vmarena_text_add(&text, " at ");
    vmarena_text_hex(&text, (uintptr_t)fault->address);
    vmarena_text_add(&text, ")");
    return finish(&text);
}

static void add_fact(struct vmarena_text *text, const char *name) {
    vmarena_text_add(text, "\n  ");
    vmarena_text_add(text, name);
}

size_t vmarena_fault_explain(const struct vmarena_fault *fault, char *buffer, size_t size) {
    struct vmarena_text text = {.start = buffer, .size = size};
    if (fault == NULL || fault->signo == 0) {
        vmarena_text_add(&text, "no fault");
        return finish(&text);
    }
    vmarena_text_add(&text, kind_name(fault));
    add_fact(&text, "signal    ");
    vmarena_text_add(&text, signal_name(fault));
    vmarena_text_add(&text, ", code ");
    if (fault->code < 0) vmarena_text_add(&text, "-");
    vmarena_text_decimal(&text, (uint64_t)(fault->code < 0 ? -(int64_t)fault->code : fault->code));
    add_fact(&text, "access    ");
    vmarena_text_add(&text, fault->access == VMARENA_ACCESS_UNKNOWN ? "unknown" : access_name(fault));
    add_fact(&text, "address   ");
    vmarena_text_hex(&text, (uintptr_t)fault->address);
    if (fault->object != NULL) {
        vmarena_text_add(&text, fault->distance == 0 ? ", inside the object" : ", ");
        if (fault->distance != 0) add_distance(&text, fault);
        if (fault->distance != 0) vmarena_text_add(&text, "the object");
        add_fact(&text, "object    ");
        add_object(&text, fault);
    }
    if (fault->owner_name[0] != '\0') {
        add_fact(&text, fault->kind == VMARENA_FAULT_UNMAPPED ? "nearest   " : "in        ");
        add_owner(&text, fault);
    }
    if (has_file_offset(fault)) {
        add_fact(&text, "offset    ");
        vmarena_text_decimal(&text, fault->file_offset);
        vmarena_text_add(&text, " in the file");
    }
    if (fault->pc != NULL) {
        add_fact(&text, "pc        ");
        vmarena_text_hex(&text, (uintptr_t)fault->pc);
    }
    return finish(&text);
}
