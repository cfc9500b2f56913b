/* SPDX-License-Identifier: MIT */
/* Loaded by target.c: frees what the program allocated, and allocates what the program frees. */
#include <stdlib.h>
#include <string.h>

char *vmarena_test_plug(char *given);
char *vmarena_test_plug(char *given) {
    free(given);
    char *object = malloc(20);
    if (object != NULL) memset(object, 0, 20);
    return object;
}
