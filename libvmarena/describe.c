/* SPDX-License-Identifier: MIT */
/* A fault in words. Written without stdio, so that a signal handler may use it. */
#include <signal.h>
#include <stdbool.h>

#include "vmarena/fault.h"

struct text {
    char *start;
    size_t size, length; /* length: what it would take */
};

static void add_char(struct text *text, char c) {
    if (text->length + 1 < text->size) text->start[text->length] = c;
    text->length++;
}

static void add(struct text *text, const char *string) {
    while (*string != '\0') add_char(text, *string++);
}

static void add_number(struct text *text, uint64_t value, unsigned radix) {
    char digits[24];
    unsigned count = 0;
    do digits[count++] = "0123456789abcdef"[value % radix];
    while ((value /= radix) != 0);
    while (count > 0) add_char(text, digits[--count]);
}

static void add_decimal(struct text *text, uint64_t value) { add_number(text, value, 10); }

static void add_address(struct text *text, const void *address) {
    add(text, "0x");
    add_number(text, (uintptr_t)address, 16);
}

static size_t finish(const struct text *text) {
    if (text->size != 0) text->start[text->length < text->size ? text->length : text->size - 1] = '\0';
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

/* "an 8-byte object", "an 11-byte object", "an 18-byte object", "an 11,000-byte object": as the number is spoken. */
static bool wants_an(uint64_t number) {
    uint64_t thousands = number;
    while (thousands >= 1000) thousands /= 1000;
    if (thousands == 11 || thousands == 18) return true;
    while (number >= 10) number /= 10;
    return number == 8;
}

static void add_object(struct text *text, const struct vmarena_fault *fault) {
    add(text, wants_an(fault->object_size) ? "an " : "a ");
    add_decimal(text, fault->object_size);
    add(text, "-byte object at ");
    add_address(text, fault->object);
}

/* "1 byte past the end of", "8 bytes before the start of", "inside": +1 is the first byte past the end. */
static void add_distance(struct text *text, const struct vmarena_fault *fault) {
    uint64_t bytes = fault->distance < 0 ? (uint64_t)0 - (uint64_t)fault->distance : (uint64_t)fault->distance;
    if (bytes == 0) {
        add(text, "inside ");
        return;
    }
    add_decimal(text, bytes);
    add(text, bytes == 1 ? " byte " : " bytes ");
    add(text, fault->distance < 0 ? "before the start of " : "past the end of ");
}

static void add_owner(struct text *text, const struct vmarena_fault *fault) {
    add(text, "\"");
    add(text, fault->owner_name);
    add(text, "\"");
}

/* Only a view tells it, and views have names. */
static bool has_file_offset(const struct vmarena_fault *fault) {
    return fault->kind == VMARENA_FAULT_PAST_END_OF_FILE && fault->owner_name[0] != '\0';
}

size_t vmarena_fault_describe(const struct vmarena_fault *fault, char *buffer, size_t size) {
    struct text text = {buffer, size, 0};
    if (fault == NULL || fault->signo == 0) {
        add(&text, "no fault");
        return finish(&text);
    }
    add(&text, kind_name(fault));
    add(&text, ": ");
    add(&text, access_name(fault));
    if (fault->object != NULL) {
        add(&text, " ");
        add_distance(&text, fault);
        add_object(&text, fault);
    }
    if (fault->owner_name[0] != '\0') {
        add(&text, fault->kind == VMARENA_FAULT_UNMAPPED ? ", the nearest, in " : " in ");
        add_owner(&text, fault);
    }
    if (has_file_offset(fault)) {
        add(&text, " at file offset ");
        add_decimal(&text, fault->file_offset);
    }
    add(&text, " (");
    add(&text, signal_name(fault));
    add(&text, " at ");
    add_address(&text, fault->address);
    add(&text, ")");
    return finish(&text);
}

static void add_fact(struct text *text, const char *name) {
    add(text, "\n  ");
    add(text, name);
}

size_t vmarena_fault_explain(const struct vmarena_fault *fault, char *buffer, size_t size) {
    struct text text = {buffer, size, 0};
    if (fault == NULL || fault->signo == 0) {
        add(&text, "no fault");
        return finish(&text);
    }
    add(&text, kind_name(fault));
    add_fact(&text, "signal    ");
    add(&text, signal_name(fault));
    add(&text, ", code ");
    if (fault->code < 0) add(&text, "-");
    add_decimal(&text, (uint64_t)(fault->code < 0 ? -(int64_t)fault->code : fault->code));
    add_fact(&text, "access    ");
    add(&text, fault->access == VMARENA_ACCESS_UNKNOWN ? "unknown" : access_name(fault));
    add_fact(&text, "address   ");
    add_address(&text, fault->address);
    if (fault->object != NULL) {
        add(&text, fault->distance == 0 ? ", inside the object" : ", ");
        if (fault->distance != 0) add_distance(&text, fault);
        if (fault->distance != 0) add(&text, "the object");
        add_fact(&text, "object    ");
        add_object(&text, fault);
    }
    if (fault->owner_name[0] != '\0') {
        add_fact(&text, fault->kind == VMARENA_FAULT_UNMAPPED ? "nearest   " : "in        ");
        add_owner(&text, fault);
    }
    if (has_file_offset(fault)) {
        add_fact(&text, "offset    ");
        add_decimal(&text, fault->file_offset);
        add(&text, " in the file");
    }
    if (fault->pc != NULL) {
        add_fact(&text, "pc        ");
        add_address(&text, fault->pc);
    }
    return finish(&text);
}
