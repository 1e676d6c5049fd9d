/* Runs cpu_engine.c's functions where no Python is: for another processor, under qemu-user (test_neon.py).

   stdin is calls, one after the other: the function's number, its integers (how many, then each), its arrays (how many,
   then each one's bytes and how many they are), all counts int64. stdout is the last array of each call as it stands then.
   Behind every array lies a page that cannot be touched, so that a load behind its end is a crash. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct {
    const char* weights;
    const float* bias;
    int n, k, relu, kind, group, groups;
    const float *scales, *biases;
} linear; /* as in cpu_engine.c */

int engine_lanes(void);
int engine_threads(int);
void engine_product(const linear*, int, const float*, long, float*, long, int);
void engine_norm(int, int, const float*, long, const float*, const float*, float, float*);
void engine_memory(int, const int*, int, int, int, const float*, const float*, long, float*);
void engine_attention(int, const int*, const int*, int, int, const float*, long, const float*, const float*, long, float*,
                      float*);
void engine_recall(int, const int*, int, int, int, const float*, int, const float*, const float*, long, float*);
void engine_softmax(int, int, const float*, long, float*);
void engine_lstm(int, int, int, int, int, const char* const*, const float*, float*);

enum { MOST = 16 };

static int read_all(void* to, size_t size) { return fread(to, 1, size, stdin) == size; }

static int64_t number(void) {
    int64_t found;
    if (!read_all(&found, sizeof found)) exit(3);
    return found;
}

/* An array that ends where a page does that cannot be touched. */
static void* array(size_t size) {
    const size_t page = sysconf(_SC_PAGESIZE), room = (size + page - 1) / page * page;
    char* start = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED || mprotect(start + room, page, PROT_NONE)) exit(4);
    char* found = start + room - size;
    if (!read_all(found, size)) exit(3);
    return size ? found : NULL; /* no numbers: the array is not there */
}

static void call(int64_t which, const int64_t* n, void** a) {
    if (which == 0) {
        const linear w = {a[0], a[1], n[0], n[1], n[2], n[3], n[4], n[5], a[2], a[3]};
        engine_product(&w, n[6], a[4], n[1], a[5], n[7], n[8]);
    } else if (which == 1) {
        engine_norm(n[0], n[1], a[0], n[1], a[1], a[2], *(const float*)a[3], a[4]);
    } else if (which == 2) {
        engine_memory(n[0], a[0], n[1], n[2], n[3], a[1], a[2], n[4], a[3]);
    } else if (which == 3) {
        engine_attention(n[0], a[0], a[1], n[1], n[2], a[2], n[3], a[3], a[4], n[4], a[5], a[6]);
    } else if (which == 4) {
        const char* weights[2] = {a[0], a[1]};
        engine_lstm(n[0], n[1], n[2], n[3], n[4], weights, a[2], a[3]);
    } else if (which == 5) {
        engine_recall(n[0], a[0], n[1], n[2], n[3], a[1], n[4], a[2], a[3], n[1], a[4]);
    } else if (which == 6) {
        engine_softmax(n[0], n[1], a[0], n[1], a[1]);
    } else {
        exit(5);
    }
}

int main(void) {
    engine_threads(2);
    fprintf(stderr, "%d lanes\n", engine_lanes());
    for (int64_t which; read_all(&which, sizeof which);) {
        int64_t numbers[MOST], count = number(), sizes[MOST] = {0};
        void* arrays[MOST];
        if (count > MOST) exit(5);
        for (int i = 0; i < count; i++) numbers[i] = number();
        if ((count = number()) > MOST) exit(5);
        for (int i = 0; i < count; i++) arrays[i] = array(sizes[i] = number());
        call(which, numbers, arrays);
        fwrite(arrays[count - 1], 1, sizes[count - 1], stdout);
    }
    return 0;
}
