/* SPDX-License-Identifier: MIT */
/* What the command reads of ELF files itself: what a program is, and the names of functions (elf(5)). */
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

/* Maps a file. 0, or a negative errno; -ENOEXEC: not ELF. */
int vmarena_elf_open(struct vmarena_elf *elf, const char *path);
void vmarena_elf_close(struct vmarena_elf *elf);

/* The loader that it names (PT_INTERP); NULL: it is static, or no 64-bit file of this byte order. */
const char *vmarena_elf_interpreter(const struct vmarena_elf *elf);

/* Whether it has a segment of this type. Files of this system's kind only. */
bool vmarena_elf_has_segment(const struct vmarena_elf *elf, uint32_t type);

/* The first needed library whose name starts with prefix; NULL: none. */
const char *vmarena_elf_needed(const struct vmarena_elf *elf, const char *prefix);

/* Whether it has a function of that name to offer to others (.dynsym). */
bool vmarena_elf_offers(const struct vmarena_elf *elf, const char *function);

/* The address that the byte at offset of the file is loaded at, before relocation; false: it is not loaded. */
bool vmarena_elf_address(const struct vmarena_elf *elf, uint64_t offset, uint64_t *address);

/* The function that holds address, from .symtab or .dynsym; NULL: none. *into: bytes from its start. */
const char *vmarena_elf_function(const struct vmarena_elf *elf, uint64_t address, uint64_t *into);

#endif
