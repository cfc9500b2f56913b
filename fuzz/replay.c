/* SPDX-License-Identifier: MIT */
/* Stands in for libFuzzer: runs every input of the folders given, so that what a fuzzer once found stays found. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool replay_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return false;
    uint8_t *data = malloc(1 << 20);
    size_t size = data != NULL ? fread(data, 1, 1 << 20, file) : 0;
    bool read = data != NULL && ferror(file) == 0;
    fclose(file);
    if (read) LLVMFuzzerTestOneInput(data, size);
    free(data);
    return read;
}

static int replay_folder(const char *folder) {
    DIR *entries = opendir(folder);
    if (entries == NULL) return -1;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        char path[4096];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (!replay_file(path)) fprintf(stderr, "%s: cannot be read\n", path), exit(1);
        count++;
    }
    closedir(entries);
    return count;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        int count = replay_folder(argv[i]);
        printf("%s: %d inputs\n", argv[i], count);
        if (count <= 0) return 1; /* an empty corpus would pass for a good one */
    }
    return argc < 2;
}
