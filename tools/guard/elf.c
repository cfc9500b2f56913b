/* SPDX-License-Identifier: MIT */
#include "elf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define OUR_DATA ELFDATA2MSB
#else
#define OUR_DATA ELFDATA2LSB
#endif
#define OUR_CLASS (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)

/* The bytes [offset, offset + size) of the file, NULL where it does not reach that far. Nothing is read past the end. */
static const void *part(const struct vmarena_elf *elf, uint64_t offset, uint64_t size) {
    if (offset > elf->size || size > elf->size - offset) return NULL;
    return elf->bytes + offset;
}

static const char *string_at(const struct vmarena_elf *elf, uint64_t offset) {
    const char *string = part(elf, offset, 1);
    if (string == NULL || memchr(string, '\0', elf->size - (size_t)offset) == NULL) return NULL;
    return string;
}

static bool is_native(const struct vmarena_elf *elf) {
    return elf->size >= sizeof(ElfW(Ehdr)) && elf->bytes[EI_CLASS] == OUR_CLASS && elf->bytes[EI_DATA] == OUR_DATA;
}

/* e_type and e_machine lie at the same place in all ELF files. */
static void read_kind(struct vmarena_elf *elf) {
    const unsigned char *kind = elf->bytes + EI_NIDENT;
    unsigned low = elf->bytes[EI_DATA] == ELFDATA2MSB ? 1 : 0;
    elf->big_endian = low == 1;
    elf->class = elf->bytes[EI_CLASS] == ELFCLASS64 ? 64 : 32;
    elf->type = (unsigned)kind[low] | (unsigned)kind[1 - low] << 8;
    elf->machine = (unsigned)kind[2 + low] | (unsigned)kind[3 - low] << 8;
}

static int map_file(struct vmarena_elf *elf, int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0) return -errno;
    if (!S_ISREG(status.st_mode)) return -EACCES;
    if (status.st_size < EI_NIDENT + 4) return -ENOEXEC;
    void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) return -errno;
    *elf = (struct vmarena_elf){.bytes = bytes, .size = (size_t)status.st_size};
    return 0;
}

int vmarena_elf_open(struct vmarena_elf *elf, const char *path) {
    *elf = (struct vmarena_elf){.bytes = NULL};
    /* O_NONBLOCK: opening a FIFO does not wait for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return -errno;
    int error = map_file(elf, fd);
    close(fd);
    if (error != 0) return error;
    if (memcmp(elf->bytes, ELFMAG, SELFMAG) != 0) {
        vmarena_elf_close(elf);
        return -ENOEXEC;
    }
    read_kind(elf);
    return 0;
}

void vmarena_elf_close(struct vmarena_elf *elf) {
    if (elf->bytes != NULL) munmap((void *)(uintptr_t)elf->bytes, elf->size);
    elf->bytes = NULL;
}

/* ---- segments ---- */

static const ElfW(Phdr) * segment(const struct vmarena_elf *elf, size_t index) {
    const ElfW(Ehdr) *header = (const void *)elf->bytes;
    if (!is_native(elf) || header->e_phentsize != sizeof(ElfW(Phdr)) || index >= header->e_phnum) return NULL;
    uint64_t at = header->e_phoff + index * sizeof(ElfW(Phdr));
    return at % sizeof(void *) != 0 ? NULL : part(elf, at, sizeof(ElfW(Phdr)));
}

static const ElfW(Phdr) * find_segment(const struct vmarena_elf *elf, uint32_t type) {
    const ElfW(Phdr) * found;
    for (size_t i = 0; (found = segment(elf, i)) != NULL; i++)
        if (found->p_type == type) return found;
    return NULL;
}

const char *vmarena_elf_interpreter(const struct vmarena_elf *elf) {
    const ElfW(Phdr) *found = find_segment(elf, PT_INTERP);
    return found == NULL ? NULL : string_at(elf, found->p_offset);
}

bool vmarena_elf_has_segment(const struct vmarena_elf *elf, uint32_t type) { return find_segment(elf, type) != NULL; }

bool vmarena_elf_address(const struct vmarena_elf *elf, uint64_t offset, uint64_t *address) {
    const ElfW(Phdr) * load;
    for (size_t i = 0; (load = segment(elf, i)) != NULL; i++) {
        if (load->p_type != PT_LOAD || offset < load->p_offset || offset - load->p_offset >= load->p_filesz) continue;
        *address = offset - load->p_offset + load->p_vaddr;
        return true;
    }
    return false;
}

static bool offset_of(const struct vmarena_elf *elf, uint64_t address, uint64_t *offset) {
    const ElfW(Phdr) * load;
    for (size_t i = 0; (load = segment(elf, i)) != NULL; i++) {
        if (load->p_type != PT_LOAD || address < load->p_vaddr || address - load->p_vaddr >= load->p_filesz) continue;
        *offset = address - load->p_vaddr + load->p_offset;
        return true;
    }
    return false;
}

const char *vmarena_elf_needed(const struct vmarena_elf *elf, const char *prefix) {
    const ElfW(Phdr) *dynamic = find_segment(elf, PT_DYNAMIC);
    uint64_t strings = 0;
    if (dynamic == NULL || dynamic->p_offset % sizeof(void *) != 0) return NULL;
    const ElfW(Dyn) *entries = part(elf, dynamic->p_offset, dynamic->p_filesz);
    size_t count = entries == NULL ? 0 : dynamic->p_filesz / sizeof *entries;
    for (size_t i = 0; i < count; i++)
        if (entries[i].d_tag == DT_STRTAB) (void)offset_of(elf, entries[i].d_un.d_ptr, &strings);
    for (size_t i = 0; i < count && strings != 0; i++) {
        if (entries[i].d_tag != DT_NEEDED) continue;
        const char *name = string_at(elf, strings + entries[i].d_un.d_val);
        if (name != NULL && strncmp(name, prefix, strlen(prefix)) == 0) return name;
    }
    return NULL;
}

/* ---- functions ---- */

static const ElfW(Shdr) * section(const struct vmarena_elf *elf, size_t index) {
    const ElfW(Ehdr) *header = (const void *)elf->bytes;
    if (!is_native(elf) || header->e_shentsize != sizeof(ElfW(Shdr)) || index >= header->e_shnum) return NULL;
    uint64_t at = header->e_shoff + index * sizeof(ElfW(Shdr));
    return at % sizeof(void *) != 0 ? NULL : part(elf, at, sizeof(ElfW(Shdr)));
}

/* The symbols of a table, and where their names are. */
struct symbols {
    const ElfW(Sym) * symbol;
    size_t count;
    uint64_t names;
};

static struct symbols symbols_of(const struct vmarena_elf *elf, const ElfW(Shdr) * table) {
    struct symbols none = {.count = 0};
    const ElfW(Shdr) *strings = section(elf, table->sh_link);
    if (strings == NULL || table->sh_offset % sizeof(void *) != 0) return none;
    const ElfW(Sym) *symbols = part(elf, table->sh_offset, table->sh_size);
    if (symbols == NULL) return none;
    return (struct symbols){symbols, table->sh_size / sizeof *symbols, strings->sh_offset};
}

static const char *name_of(const struct vmarena_elf *elf, const struct symbols *symbols, size_t index) {
    return string_at(elf, symbols->names + symbols->symbol[index].st_name);
}

static bool is_function(const ElfW(Sym) * symbol) {
    unsigned type = symbol->st_info & 15;
    return (type == STT_FUNC || type == STT_GNU_IFUNC) && symbol->st_shndx != SHN_UNDEF;
}

static bool offers(const struct vmarena_elf *elf, const ElfW(Shdr) * table, const char *function) {
    struct symbols symbols = symbols_of(elf, table);
    for (size_t i = 0; i < symbols.count; i++) {
        const char *name = is_function(&symbols.symbol[i]) ? name_of(elf, &symbols, i) : NULL;
        if (name != NULL && strcmp(name, function) == 0) return true;
    }
    return false;
}

bool vmarena_elf_offers(const struct vmarena_elf *elf, const char *function) {
    const ElfW(Shdr) * table;
    for (size_t i = 0; (table = section(elf, i)) != NULL; i++)
        if (table->sh_type == SHT_DYNSYM && offers(elf, table, function)) return true;
    return false;
}

static bool holds(const ElfW(Sym) * symbol, uint64_t address) {
    return is_function(symbol) && address - symbol->st_value < (symbol->st_size == 0 ? 1 : symbol->st_size);
}

/* Of several names for one function, the one with the fewest underscores in front. */
static bool is_nicer(const char *name, const char *than) {
    return than == NULL || strspn(name, "_") < strspn(than, "_");
}

static const char *search(const struct vmarena_elf *elf, const ElfW(Shdr) * table, uint64_t address, uint64_t *into) {
    const char *best = NULL;
    struct symbols symbols = symbols_of(elf, table);
    for (size_t i = 0; i < symbols.count; i++) {
        const char *name = holds(&symbols.symbol[i], address) ? name_of(elf, &symbols, i) : NULL;
        if (name == NULL || !is_nicer(name, best)) continue;
        best = name;
        *into = address - symbols.symbol[i].st_value;
    }
    return best;
}

const char *vmarena_elf_function(const struct vmarena_elf *elf, uint64_t address, uint64_t *into) {
    static const uint32_t tables[] = {SHT_SYMTAB, SHT_DYNSYM};
    const ElfW(Shdr) * table;
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (size_t i = 0; (table = section(elf, i)) != NULL; i++) {
            if (table->sh_type != tables[t]) continue;
            const char *name = search(elf, table, address, into);
            if (name != NULL) return name;
        }
    return NULL;
}
