/* SPDX-License-Identifier: MIT */
/* Reads what the command needs of ELF files: what a program is, and the names of functions (elf(5)). */
#ifndef VMARENA_TOOLS_ELF_H
#define VMARENA_TOOLS_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmarena_elf {
    const unsigned char *bytes; /* NULL: not open */
    size_t size;
    unsigned machine, type, class; /* e_machine, e_type; 32 or 64 */
    bool big_endian;
};

/* Maps a file. Returns 0 or a negative errno, -ENOEXEC if it is not ELF. */
int vmarena_elf_open(struct vmarena_elf *elf, const char *path);
void vmarena_elf_close(struct vmarena_elf *elf);

/* The loader that it names (PT_INTERP); NULL if it is static, or not of this system's class and byte order. */
const char *vmarena_elf_interpreter(const struct vmarena_elf *elf);

/* Whether it has a segment of this type. Files of this system's class and byte order only. */
bool vmarena_elf_has_segment(const struct vmarena_elf *elf, uint32_t type);

/* The first needed library whose name starts with prefix, or NULL. */
const char *vmarena_elf_needed(const struct vmarena_elf *elf, const char *prefix);

/* Whether it exports a function of that name (.dynsym). */
bool vmarena_elf_offers(const struct vmarena_elf *elf, const char *function);

/* The address, before relocation, at which the byte at that offset is loaded; false if it is not loaded. */
bool vmarena_elf_address(const struct vmarena_elf *elf, uint64_t offset, uint64_t *address);

/* The function that contains address, from .symtab or .dynsym, or NULL. *into: bytes from its start. */
const char *vmarena_elf_function(const struct vmarena_elf *elf, uint64_t address, uint64_t *into);

#endif
