/* What a Paraformer's layers are made of, for CPUs: products with weights, attention, FSMN memory, LayerNorm, LSTM.

   cpu_engine.py calls these, one after the other; each is computed by all threads and returns when all is done. Rows are
   the frames or tokens of all utterances of a batch, one after the other, without padding: `starts` says where each
   begins. Every row of a result is computed in the same order whatever it is batched with, so that its bits do not
   depend on that. Matrices are float32, row after row.

   Weights are read as they lie in their file, row after row, float32, of 16 bits or quantised: the file is mapped, and
   nothing else is held. A thread turns a panel of them into float32 in the order in which the innermost loop reads it,
   in its first-level cache, and multiplies up to BLOCK rows with it while the next panel is fetched from memory. So
   arithmetic is float32's whatever weights are. Written in the vector types of GCC and Clang, for three kinds of processor:
   as it stands for AVX2, FMA and F16C, with -DLANES=16 for AVX-512F beside them, with -DLANES=4 for ARM's NEON. An output
   of a product is one sum over the inputs in order, DEPTH of them at a time, in all: it has the same bits. What is summed
   across a vector (norms, softmax) differs by rounding. The second body compiles for AVX2 as well, slow there: for tests. */

#ifdef __aarch64__
#include <arm_neon.h>
#define pause_briefly() __asm__ volatile("yield")
#else
#include <immintrin.h>
#define pause_briefly() __builtin_ia32_pause()
#endif
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#ifndef LANES
#define LANES 8
#endif
#define FOUR(x) (x), (x), (x), (x)
#if LANES == 16
#define all(x) ((vec){FOUR(x), FOUR(x), FOUR(x), FOUR(x)})
enum { ROWS = 12 };     /* a tile of the result, ROWS x WIDTH, takes 24 of 32 registers */
enum { BLOCK = 256 };
#elif LANES == 4
#define all(x) ((vec){FOUR(x)})
enum { ROWS = 12 };     /* 24 of 32 registers again */
enum { BLOCK = 192 };
#else
#define all(x) ((vec){FOUR(x), FOUR(x)})
enum { ROWS = 6 };      /* the same, 12 of 16 */
enum { BLOCK = 192 };   /* rows that meet a panel before the next: their inputs stay in the second-level cache */
#endif
enum { WIDTH = 2 * LANES };
enum { DEPTH = 256 };   /* inputs at a time: a panel, DEPTH x WIDTH, takes half of a 32 KB first-level cache, or all */
enum { QUERIES = 144 }; /* rows of scores at a time */
enum { LINE = 16 };     /* floats in a cache line */
enum { SPINS = 2000 };  /* looks at the next task before a thread goes to sleep, some 50 us */

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int bits __attribute__((vector_size(4 * LANES), aligned(4)));
#define INLINE static inline __attribute__((always_inline))

static int least(int a, int b) { return a < b ? a : b; }
static int parts(int size, int part) { return (size + part - 1) / part; }

/* Rows of one part where so many are cut into equal ones of at most about `most`: whole tiles. */
static int even(int rows, int most) { return rows > 0 ? parts(parts(rows, parts(rows, most)), ROWS) * ROWS : most; }

int engine_width(void) { return WIDTH; } /* results have room for whole panels */
int engine_lanes(void) { return LANES; } /* what norms, memories and attention take is whole vectors */

/* ---- threads: each task is a function of a unit's number; whoever is free takes the next unit ---- */

typedef struct { void (*run)(const void* task, int unit); const void* task; int units; } work;

static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER, resting = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t called = PTHREAD_COND_INITIALIZER;
static int helpers, round_, finished;
static unsigned long offered; /* how many units the current work has, and in the lower half the next one's number */
static work current;

/* Take units as long as there are any. Whoever has one may look at `current`: it stays until that unit is finished. */
static void take_units(void) {
    unsigned long next = __atomic_load_n(&offered, __ATOMIC_ACQUIRE);
    while ((unsigned)next < next >> 32)
        if (__atomic_compare_exchange_n(&offered, &next, next + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            current.run(current.task, (int)(unsigned)next);
            __atomic_fetch_add(&finished, 1, __ATOMIC_ACQ_REL);
            next = __atomic_load_n(&offered, __ATOMIC_ACQUIRE);
        }
}

static void* help(void* nothing) {
    for (int seen = 0;;) {
        for (int i = 0; i < SPINS && __atomic_load_n(&round_, __ATOMIC_ACQUIRE) == seen; i++) pause_briefly();
        if (__atomic_load_n(&round_, __ATOMIC_ACQUIRE) == seen) {
            pthread_mutex_lock(&resting);
            while (round_ == seen) pthread_cond_wait(&called, &resting);
            pthread_mutex_unlock(&resting);
        }
        seen = __atomic_load_n(&round_, __ATOMIC_ACQUIRE);
        take_units();
    }
    return nothing;
}

static void forget_helpers(void) { /* a fork's child has none */
    helpers = 0, round_ = 0;
    pthread_mutex_init(&busy, NULL), pthread_mutex_init(&resting, NULL);
}

/* Compute with so many threads from now on; returns how many there are. */
int engine_threads(int count) {
    static int watching;
    pthread_mutex_lock(&busy);
    if (!watching) watching = !pthread_atfork(NULL, NULL, forget_helpers);
    pthread_t thread;
    if (!helpers)
        while (helpers < count - 1 && !pthread_create(&thread, NULL, help, NULL)) pthread_detach(thread), helpers++;
    pthread_mutex_unlock(&busy);
    return helpers + 1;
}

/* Have all units of a work computed. A helper that is not there in time is not waited for: only units are. */
static void everywhere(void (*run)(const void*, int), const void* task, int units) {
    pthread_mutex_lock(&busy); /* two Python threads take turns */
    current = (work){run, task, units};
    finished = 0;
    __atomic_store_n(&offered, (unsigned long)units << 32, __ATOMIC_RELEASE);
    if (helpers && units > 1) {
        pthread_mutex_lock(&resting);
        __atomic_fetch_add(&round_, 1, __ATOMIC_ACQ_REL);
        pthread_cond_broadcast(&called);
        pthread_mutex_unlock(&resting);
    }
    take_units();
    for (int i = 0; __atomic_load_n(&finished, __ATOMIC_ACQUIRE) < units; i++)
        if (i < SPINS) pause_briefly();
        else sched_yield(); /* others may need this core to finish */
    pthread_mutex_unlock(&busy);
}

/* The same for cpu_int8.c, whose work these threads do, too. */
void engine_everywhere(void (*run)(const void*, int), const void* task, int units) { everywhere(run, task, units); }

static void nothing(const void* task, int unit) { (void)task, (void)unit; }

/* What a parallel region costs that has nothing to compute: every thread is called. */
void engine_empty(void) { everywhere(nothing, NULL, helpers + 1); }

enum { ALONE = 2000000 }; /* products of two numbers that take less time than calling a thread that sleeps */

/* The same for so many products of two numbers: few of them are computed here, whatever others do meanwhile. */
static void where_it_pays(void (*run)(const void*, int), const void* task, int units, double products) {
    if (products >= ALONE) { everywhere(run, task, units); return; }
    for (int unit = 0; unit < units; unit++) run(task, unit);
}

/* ---- products ---- */

static _Thread_local float* scratch;
static _Thread_local size_t scratch_size;

static float* scratch_of(size_t size) {
    if (size > scratch_size) {
        free(scratch);
        scratch = malloc(size * sizeof(float)), scratch_size = scratch ? size : 0;
        if (!scratch) abort();
    }
    return scratch;
}

/* What a weight is: a code of so many bits (4, 6, 8), or one of these. */
enum { PANELS = 0, FLOAT16 = 16, BFLOAT16 = 17, FLOAT32 = 32 };

typedef struct {
    const char* weights; /* rows of k numbers; of kind PANELS: panels, float32 */
    const float* bias;   /* (n,), room for whole panels; NULL: none */
    int n, k, relu;      /* outputs, inputs */
    int kind, group, groups;      /* below; of codes: how many share scale and bias, and such groups in a row */
    const float *scales, *biases; /* of codes: (n, groups) */
} linear;

INLINE int is_code(int kind) { return kind < FLOAT16; }
INLINE int bits_of(int kind) { return kind == BFLOAT16 ? 16 : kind; }
INLINE long row_bytes(const linear* w, int inputs) { return (long)inputs * bits_of(w->kind) / 8; }
static long stride_of(const linear* w) { return row_bytes(w, is_code(w->kind) ? w->groups * w->group : w->k); }

/* LANES codes of 4 or 6 bits from a row's `at`th, a multiple of LANES: whole bytes hold four. A load takes four bytes,
   and none behind the last code of eight. */
INLINE bits small_codes(int size, const char* row, int at) {
    int words[LANES / 4];
    for (int i = 0; i < LANES / 4; i++) {
        unsigned four;
        const int quad = at / 4 + i, odd = quad % 2;
        memcpy(&four, row + (size == 6 ? 3l * quad - odd : quad / 2 * 4l), 4);
        words[i] = (int)(four >> odd * (size == 6 ? 8 : 16));
    }
#if LANES == 16
    const bits all_words = {FOUR(words[0]), FOUR(words[1]), FOUR(words[2]), FOUR(words[3])};
    const bits shifts = {0, size, 2 * size, 3 * size, 0, size, 2 * size, 3 * size,
                         0, size, 2 * size, 3 * size, 0, size, 2 * size, 3 * size};
#elif LANES == 4
    const bits all_words = {FOUR(words[0])};
    const bits shifts = {0, size, 2 * size, 3 * size};
#else
    const bits all_words = {FOUR(words[0]), FOUR(words[1])};
    const bits shifts = {0, size, 2 * size, 3 * size, 0, size, 2 * size, 3 * size};
#endif
    return all_words >> shifts & ((1 << size) - 1);
}

INLINE vec halves(const char* from) {
#if LANES == 4
    return (vec)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t*)from)));
#elif LANES == 8
    return (vec)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from));
#elif defined __AVX512F__
    return (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from));
#else
    __m256 both[2];
    for (int i = 0; i < 2; i++) both[i] = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from + i));
    return *(const vec*)both;
#endif
}

/* LANES numbers of a row from the `at`th, a multiple of LANES; codes lie lowest bits first. */
INLINE vec numbers(int kind, const char* row, int at) {
    typedef unsigned char octets __attribute__((vector_size(LANES), aligned(1)));
    typedef unsigned short words16 __attribute__((vector_size(2 * LANES), aligned(1)));
    const int size = bits_of(kind);
    const char* from = row + (long)at * size / 8;
    if (kind == FLOAT32) return *(const vec*)from;
    if (kind == FLOAT16) return halves(from);
    if (kind == BFLOAT16) return (vec)(__builtin_convertvector(*(const words16*)from, bits) << 16); /* its upper half */
    const bits codes = size == 8 ? __builtin_convertvector(*(const octets*)from, bits) : small_codes(size, row, at);
    return __builtin_convertvector(codes, vec);
}

/* The last `count` of a row's numbers, fewer than LANES, and zeros; nothing behind the row is read. */
INLINE vec last_numbers(int kind, const char* row, int at, int count) {
    char few[sizeof(vec)] = {0};
    memcpy(few, row + (long)at * bits_of(kind) / 8, (size_t)count * bits_of(kind) / 8);
    return numbers(kind, few, 0);
}

#if LANES != 8
#ifdef __clang__
#define pick(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define pick(a, b, ...) __builtin_shuffle(a, b, (bits){__VA_ARGS__}) /* older than GCC 12, too */
#endif
#endif

#if LANES == 16
#define QUARTER(i) 4 * (i), 4 * (i) + 1, 4 * (i) + 2, 4 * (i) + 3
#define QUARTERS(p, q, r, s) \
    p, q, r, s, p + 4, q + 4, r + 4, s + 4, p + 8, q + 8, r + 8, s + 8, p + 12, q + 12, r + 12, s + 12
#define PAIRED(a, b) pick(a, b, QUARTERS(0, 16, 1, 17)), pick(a, b, QUARTERS(2, 18, 3, 19))
#define FOURED(a, b) pick(a, b, QUARTERS(0, 1, 16, 17)), pick(a, b, QUARTERS(2, 3, 18, 19))
#define EVEN(a, b) pick(a, b, QUARTER(0), QUARTER(2), QUARTER(4), QUARTER(6))
#define ODD(a, b) pick(a, b, QUARTER(1), QUARTER(3), QUARTER(5), QUARTER(7))

/* The quarters of four vectors, turned: vector i of the result has the ith of each. */
INLINE void turn_quarters(const vec from[4], vec out[4]) {
    const vec even[2] = {EVEN(from[0], from[1]), EVEN(from[2], from[3])};
    const vec odd[2] = {ODD(from[0], from[1]), ODD(from[2], from[3])};
    out[0] = EVEN(even[0], even[1]), out[1] = EVEN(odd[0], odd[1]);
    out[2] = ODD(even[0], even[1]), out[3] = ODD(odd[0], odd[1]);
}

/* Sixteen numbers of sixteen rows, turned: vector i holds the ith of every row. */
INLINE void turn(const vec rows[LANES], vec out[LANES]) {
    vec fours[4][LANES / 4]; /* the ith of each quarter, of four rows after the other */
    for (int r = 0; r < LANES; r += 4) {
        const vec pairs[4] = {PAIRED(rows[r], rows[r + 1]), PAIRED(rows[r + 2], rows[r + 3])};
        const vec found[4] = {FOURED(pairs[0], pairs[2]), FOURED(pairs[1], pairs[3])};
        for (int i = 0; i < 4; i++) fours[i][r / 4] = found[i];
    }
    for (int i = 0; i < 4; i++) {
        vec turned[4];
        turn_quarters(fours[i], turned);
        for (int quarter = 0; quarter < 4; quarter++) out[4 * quarter + i] = turned[quarter];
    }
}
#elif LANES == 4
/* Four numbers of four rows, turned: vector i holds the ith of every row. */
INLINE void turn(const vec rows[LANES], vec out[LANES]) {
    const vec low[2] = {pick(rows[0], rows[1], 0, 4, 1, 5), pick(rows[2], rows[3], 0, 4, 1, 5)};
    const vec high[2] = {pick(rows[0], rows[1], 2, 6, 3, 7), pick(rows[2], rows[3], 2, 6, 3, 7)};
    out[0] = pick(low[0], low[1], 0, 1, 4, 5), out[1] = pick(low[0], low[1], 2, 3, 6, 7);
    out[2] = pick(high[0], high[1], 0, 1, 4, 5), out[3] = pick(high[0], high[1], 2, 3, 6, 7);
}
#else
/* Eight numbers of eight rows, turned: vector i holds the ith of every row. */
INLINE void turn(const vec rows[LANES], vec out[LANES]) {
    __m256 a[LANES], b[LANES];
    for (int i = 0; i < LANES; i += 2) {
        a[i] = _mm256_unpacklo_ps((__m256)rows[i], (__m256)rows[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps((__m256)rows[i], (__m256)rows[i + 1]);
    }
    for (int i = 0; i < LANES; i += 4)
        for (int h = 0; h < 2; h++) {
            b[i + 2 * h] = _mm256_shuffle_ps(a[i + h], a[i + 2 + h], 0x44);
            b[i + 2 * h + 1] = _mm256_shuffle_ps(a[i + h], a[i + 2 + h], 0xee);
        }
    for (int i = 0; i < LANES / 2; i++) {
        out[i] = (vec)_mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        out[i + 4] = (vec)_mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}
#endif

/* Inputs [deep, deep + depth) of WIDTH outputs from `column`: a panel. Behind the last output it is repeated. Whole vectors
   of inputs are written: the last ones are zeros, or what pads the rows of codes, which are whole vectors. A cache line of
   the rows is done with before the next: rows of 2048 numbers lie on one another in the first-level cache. */
INLINE void turn_rows(int kind, const linear* w, long stride, int column, int deep, int depth, float* panel) {
    const char* rows[WIDTH];
    vec scale[2], bias[2], found[LANES], turned[LANES];
    for (int j = 0; j < WIDTH; j++) rows[j] = w->weights + least(column + j, w->n - 1) * stride;
    for (int i = 0; i < 2 * parts(depth, LINE) * LINE; i += LANES) { /* a line of the first half of the rows, and of the second */
        const int half = i / LINE % 2, at = i / (2 * LINE) * LINE + i % LINE, left = depth - at;
        if (left <= 0) continue;
        if (is_code(kind) && at % w->group == 0)
            for (int j = 0; j < LANES; j++) {
                const size_t code = (size_t)least(column + half * LANES + j, w->n - 1) * w->groups + (deep + at) / w->group;
                scale[half][j] = w->scales[code], bias[half][j] = w->biases[code];
            }
        const char* const* from = rows + half * LANES;
        if (is_code(kind) || left >= LANES)
            for (int j = 0; j < LANES; j++) found[j] = numbers(kind, from[j], deep + at);
        else
            for (int j = 0; j < LANES; j++) found[j] = last_numbers(kind, from[j], deep + at, left);
        turn(found, turned);
        for (int j = 0; j < LANES; j++)
            *(vec*)(panel + (at + j) * WIDTH + half * LANES) = is_code(kind) ? turned[j] * scale[half] + bias[half] : turned[j];
    }
}

#define KIND_IS(kind) case kind: turn_rows(kind, w, stride, column, deep, depth, panel); break;
static void make_panel(const linear* w, long stride, int column, int deep, int depth, float* panel) {
    switch (w->kind) { /* each compiled by itself */
        KIND_IS(FLOAT32) KIND_IS(FLOAT16) KIND_IS(BFLOAT16) KIND_IS(8) KIND_IS(6) KIND_IS(4)
    }
}

/* Copy k rows of n numbers, `stride` apart, into slabs of DEPTH of them, in these panels of WIDTH numbers of each. */
static void pack_columns(int n, int k, const float* w, long stride, float* packed) {
    for (int deep = 0; deep < k; deep += DEPTH)
        for (int column = 0; column < n; column += WIDTH)
            for (int i = deep; i < least(k, deep + DEPTH); i++, packed += WIDTH)
                memcpy(packed, w + i * stride + column, least(WIDTH, n - column) * sizeof(float));
}

/* The same panels of a matrix that stands the other way, n rows of k numbers. */
static void pack_rows(int n, int k, const float* w, long stride, float* packed) {
    const linear rows = {.weights = (const char*)w, .n = n, .k = k, .kind = FLOAT32};
    for (int deep = 0; deep < k; deep += DEPTH)
        for (int column = 0; column < n; column += WIDTH, packed += WIDTH * least(DEPTH, k - deep))
            make_panel(&rows, stride * (long)sizeof(float), column, deep, least(DEPTH, k - deep), packed);
}

/* A tile of the result, `rows` x WIDTH; `add`: to what stands there. */
INLINE void tile(int rows, int depth, const float* a, long lda, const float* b, float* c, long ldc, const float* start,
                 int add, int relu) {
    vec sum[ROWS][2];
    for (int i = 0; i < rows; i++) {
        sum[i][0] = start ? *(const vec*)start : all(0.0f), sum[i][1] = start ? *(const vec*)(start + LANES) : all(0.0f);
        if (LANES == 16) __builtin_prefetch(c + i * ldc, 1), __builtin_prefetch(c + i * ldc + WIDTH - 1, 1); /* AVX2: -1 % */
    }
    for (int k = 0; k < depth; k++, b += WIDTH) {
        vec left = *(const vec*)b, right = *(const vec*)(b + LANES);
        for (int i = 0; i < rows; i++) {
            vec x = all(a[i * lda + k]);
            sum[i][0] += x * left, sum[i][1] += x * right;
        }
    }
    for (int i = 0; i < rows; i++)
        for (int h = 0; h < 2; h++) {
            vec *out = (vec*)(c + i * ldc + h * LANES), value = sum[i][h];
            if (add) value += *out;
            if (relu) value = (vec)((bits)value & ~(value < 0.0f)); /* NaN stays */
            *out = value;
        }
}

#define ROWS_ARE(n) case n: tile(n, depth, a, lda, b, c, ldc, start, add, relu); break;
static void any_tile(int rows, int depth, const float* a, long lda, const float* b, float* c, long ldc,
                     const float* start, int add, int relu) {
    switch (rows) {
        ROWS_ARE(1) ROWS_ARE(2) ROWS_ARE(3) ROWS_ARE(4) ROWS_ARE(5) ROWS_ARE(6)
#if LANES != 8
        ROWS_ARE(7) ROWS_ARE(8) ROWS_ARE(9) ROWS_ARE(10) ROWS_ARE(11) ROWS_ARE(12)
#endif
    }
}

/* What is to be fetched: `rows` rows, `stride` bytes apart, of so many cache lines each; and the next of these. */
typedef struct { const char* from; long stride; int rows, lines, row, line; } region;

/* Fetch some lines of it, the same of every row before the next. */
INLINE void fetch(region* next, int count) {
    for (; count > 0 && next->line < next->lines; count--) {
        __builtin_prefetch(next->from + next->row * next->stride + next->line * 64l, 0, 2);
        if (++next->row == next->rows) next->row = 0, next->line++;
    }
}

/* A panel of weights times m rows, in tiles of even size; with every tile a share of what comes next is fetched. */
static void times_panel(int m, int depth, const float* a, long lda, const float* b, float* c, long ldc,
                        const float* start, int add, int relu, region* next, int share) {
    const int tiles = parts(m, ROWS);
    for (int t = 0; t < tiles; t++) {
        const int row = t * m / tiles, rows = (t + 1) * m / tiles - row;
        fetch(next, share);
        any_tile(rows, depth, a + row * lda, lda, b, c + row * ldc, ldc, start, add, relu);
    }
}

enum { GROUP = 4 }; /* panels that are made at once where more than a block of rows meets them: in the second-level cache */

/* The weights of `count` panels from `column`, inputs from `deep`. */
static region region_of(const linear* w, int column, int deep, int depth, int count) {
    const int rows = least(count * WIDTH, w->n - column);
    if (rows <= 0) return (region){0};
    if (w->kind == PANELS)
        return (region){w->weights + ((size_t)deep * w->n + (size_t)column * depth) * sizeof(float), 0, 1,
                        rows * depth / LINE, 0, 0};
    return (region){w->weights + column * stride_of(w) + row_bytes(w, deep), stride_of(w), rows,
                    parts(row_bytes(w, depth), 64), 0, 0};
}

/* Columns [first, end) of c (m, n) = relu?(a (m, k) w^T + bias), or added to c; whole panels are written. Those of `after`
   probably come next here, of the same weights; n where none do. */
static void multiply(const linear* w, int first, int end, int after, int m, const float* a, long lda, float* c, long ldc,
                     int add) {
    const long stride = stride_of(w);
    const int block = even(m, BLOCK), count = m > block ? GROUP : 1;
    float made[GROUP * DEPTH * WIDTH] __attribute__((aligned(64)));
    for (int deep = 0; deep < w->k; deep += DEPTH) {
        const int depth = least(DEPTH, w->k - deep), last = deep + depth == w->k;
        for (int group = first; group < end; group += count * WIDTH) {
            const int stop = least(end, group + count * WIDTH), more = stop < end;
            region next = more ? region_of(w, stop, deep, depth, count)
                        : last ? region_of(w, after, 0, least(DEPTH, w->k), count)
                               : region_of(w, first, deep + depth, least(DEPTH, w->k - deep - depth), count);
            const int share = parts(next.rows * next.lines, parts(m, ROWS) * parts(stop - group, WIDTH));
            for (int column = group; column < stop && w->kind != PANELS; column += WIDTH)
                make_panel(w, stride, column, deep, depth, made + (size_t)(column - group) * DEPTH);
            for (int top = 0; top < m; top += block)
                for (int column = group; column < stop; column += WIDTH) {
                    const float* panel = w->kind == PANELS
                        ? (const float*)w->weights + (size_t)deep * w->n + (size_t)column * depth
                        : made + (size_t)(column - group) * DEPTH;
                    const int rows = least(block, m - top);
                    times_panel(rows, depth, a + deep + top * lda, lda, panel, c + top * ldc + column, ldc,
                                !deep && w->bias ? w->bias + column : NULL, add || deep, last && w->relu, &next, share);
                }
        }
    }
}

typedef struct { const linear* w; int m, rows, columns; const float* x; long apart; float* y; long stride; int add; } product;

static void product_unit(const void* task, int unit) {
    const product* p = task;
    const int across = parts(p->w->n, p->columns), top = unit / across * p->rows, first = unit % across * p->columns;
    const int later = unit + helpers + 1, after = later < parts(p->m, p->rows) * across ? later % across * p->columns : p->w->n;
    multiply(p->w, first, least(p->w->n, first + p->columns), after, least(p->rows, p->m - top), p->x + top * p->apart,
             p->apart, p->y + top * p->stride, p->stride, p->add);
}

enum { SHARE = 8 }; /* units that each thread shall have */

/* Rows of a unit, where columns are cut into so many parts: many, since every unit makes its panels anew. */
static int rows_of_unit(int m, int across) {
    if (m <= BLOCK) return even(m, BLOCK);
    return even(m, parts(m, least(parts(m, BLOCK), parts(SHARE * (helpers + 1), across))));
}

/* y (m, n), rows `stride` apart, with room for whole panels, = relu?(x (m, k) w^T + bias), or added to y; x's are `apart`. */
void engine_product(const linear* w, int m, const float* x, long apart, float* y, long stride, int add) {
    enum { COLUMNS = GROUP * WIDTH };
    product p = {w, m, rows_of_unit(m, parts(w->n, COLUMNS)), COLUMNS, x, apart, y, stride, add};
    where_it_pays(product_unit, &p, parts(m, p.rows) * parts(w->n, p.columns), (double)m * w->n * w->k);
}

/* ---- LayerNorm ---- */

typedef struct { int m, k; const float* x; long apart; const float *gain, *shift; float eps; float* y; } norm;

static float total(const vec* sums) {
    const vec four = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    float sum = 0.0f;
    for (int i = 0; i < LANES; i++) sum += four[i];
    return sum;
}

static void norm_row(const norm* n, const float* x, float* y) {
    vec sums[4] = {{0}}, squares[4] = {{0}};
    for (int i = 0; i < n->k; i += LANES) sums[i / LANES % 4] += *(const vec*)(x + i);
    const float mean = total(sums) / n->k;
    for (int i = 0; i < n->k; i += LANES) {
        vec centred = *(const vec*)(x + i) - all(mean);
        squares[i / LANES % 4] += centred * centred;
    }
    const float scale = 1.0f / sqrtf(total(squares) / n->k + n->eps);
    for (int i = 0; i < n->k; i += LANES)
        *(vec*)(y + i) = (*(const vec*)(x + i) - all(mean)) * all(scale) * *(const vec*)(n->gain + i) +
                         *(const vec*)(n->shift + i);
}

enum { NORM_ROWS = 16 };

static void norm_unit(const void* task, int unit) {
    const norm* n = task;
    for (int row = unit * NORM_ROWS; row < least(n->m, (unit + 1) * NORM_ROWS); row++)
        norm_row(n, n->x + row * n->apart, n->y + (size_t)row * n->k);
}

/* y (m, k) = LayerNorm of x, whose rows are `apart`, over k, a multiple of LANES. */
void engine_norm(int m, int k, const float* x, long apart, const float* gain, const float* shift, float eps, float* y) {
    norm n = {m, k, x, apart, gain, shift, eps, y};
    everywhere(norm_unit, &n, parts(m, NORM_ROWS));
}

/* ---- FSMN memory ---- */

typedef struct {
    int utterances, d, taps, left;
    const int* starts;
    const float* weights;
    const float* v;
    long stride;
    float* y;
} memory;

enum { MEMORY_ROWS = 16, PART = 4 };

/* `count` vectors of a row, from column `at` on. */
INLINE void memory_part(int count, const memory* f, const float* v, int from, int to, int at, float* y) {
    const float *frames = v + (from - f->left) * f->stride + at, *weights = f->weights + from * f->d + at;
    vec sum[PART] = {{0}};
    for (int tap = from; tap < to; tap++, frames += f->stride, weights += f->d)
        for (int i = 0; i < count; i++) sum[i] += *(const vec*)(frames + i * LANES) * *(const vec*)(weights + i * LANES);
    for (int i = 0; i < count; i++) *(vec*)(y + at + i * LANES) += *(const vec*)(v + at + i * LANES) + sum[i];
}

/* Some rows, a few columns after the others: what the taps reach of them stays in the first-level cache. */
static void memory_unit(const void* task, int unit) {
    const memory* f = task;
    const int top = unit * MEMORY_ROWS, end = least(f->starts[f->utterances], top + MEMORY_ROWS);
    for (int at = 0, count; at < f->d; at += count * LANES) {
        count = f->d - at < PART * LANES ? 1 : PART;
        for (int row = top, u = 0; row < end; row++) {
            while (f->starts[u + 1] <= row) u++;
            const int before = row - f->starts[u], after = f->starts[u + 1] - row; /* rows of the utterance, this in `after` */
            const int from = f->left > before ? f->left - before : 0, to = least(f->taps, f->left + after);
            const float* v = f->v + row * f->stride;
            float* y = f->y + (size_t)row * f->d;
            count == PART ? memory_part(PART, f, v, from, to, at, y) : memory_part(1, f, v, from, to, at, y);
        }
    }
}

/* Added to y (m, d): v + its depthwise convolution; weights (taps, d); v's rows are `stride` apart. */
void engine_memory(int utterances, const int* starts, int d, int taps, int left, const float* weights, const float* v,
                   long stride, float* y) {
    memory f = {utterances, d, taps, left, starts, weights, v, stride, y};
    everywhere(memory_unit, &f, parts(starts[utterances], MEMORY_ROWS));
}

/* ---- attention ---- */

/* e^x for x <= 0: 2^n e^r with |r| <= ln 2 / 2; below -87 nothing. Relative error 1e-7; NaN stays. */
INLINE vec exponential(vec x) {
    const vec magic = all(12582912.0f); /* 1.5 * 2^23: added and taken off again it rounds to an integer */
    vec n = (x * all(1.44269504f) + magic) - magic;
    vec r = x - n * all(0.693359375f) + n * all(2.12194440e-4f);
    vec p = all(1.9875691500e-4f);
    p = p * r + all(1.3981999507e-3f), p = p * r + all(8.3334519073e-3f), p = p * r + all(4.1665795894e-2f);
    p = p * r + all(1.6666665459e-1f), p = p * r + all(5.0000001201e-1f), p = p * r * r + r + all(1.0f);
    bits power = (__builtin_convertvector(n, bits) + 127) << 23;
    return (vec)((bits)(p * (vec)power) & ~(x < all(-87.0f)));
}

/* Replace a row of scores by e^(scale (score - largest)) and return 1 / their sum; what follows them is left alone. */
static float softmax_row(float* row, int size, float scale) {
    const int whole = size / LANES * LANES;
    float top = row[0];
    vec tops = all(top), sums = all(0.0f);
    for (int i = 0; i < whole; i += LANES) {
        vec x = *(const vec*)(row + i);
        bits higher = x > tops;
        tops = (vec)(((bits)x & higher) | ((bits)tops & ~higher));
    }
    for (int i = 0; i < LANES; i++) top = tops[i] > top ? tops[i] : top;
    for (int i = whole; i < size; i++) top = row[i] > top ? row[i] : top;
    for (int i = 0; i < whole; i += LANES) {
        vec e = exponential((*(const vec*)(row + i) - all(top)) * all(scale));
        *(vec*)(row + i) = e, sums += e;
    }
    vec rest[4] = {sums};
    float sum = total(rest);
    for (int i = whole; i < size; i++) sum += row[i] = exponential(all((row[i] - top) * scale))[0];
    return 1.0f / sum;
}

typedef struct {
    int utterances, heads, size, chunks; /* size: of a head; chunks: of at most QUERIES rows, in the longest utterance */
    const int *queries, *keys;
    const float *q, *k, *v;
    long q_stride, k_stride;
    float *packed, *y;
} attention;

static void scale_row(const float* row, int size, float factor, float* y) {
    for (int i = 0; i < size; i += LANES) *(vec*)(y + i) = *(const vec*)(row + i) * all(factor);
}

static int wide(int size) { return parts(size, WIDTH) * WIDTH; }

/* Where a head's keys lie packed, and behind them its values: as wide as whole panels, for each utterance before it. */
static float* packed_head(const attention* a, int u, int head) {
    const size_t before = (size_t)a->keys[u] + (size_t)u * (WIDTH - 1);
    const size_t keys = wide(a->keys[u + 1] - a->keys[u]);
    return a->packed + 2 * (size_t)wide(a->size) * (before * a->heads + keys * head);
}

static void pack_unit(const void* task, int unit) {
    const attention* a = task;
    const int u = unit / a->heads, head = unit % a->heads, keys = a->keys[u + 1] - a->keys[u];
    const long from = a->keys[u] * a->k_stride + head * a->size;
    float* packed = packed_head(a, u, head);
    pack_rows(keys, a->size, a->k + from, a->k_stride, packed);
    pack_columns(a->size, keys, a->v + from, a->k_stride, packed + (size_t)wide(keys) * a->size);
}

/* Some queries of one head of one utterance. */
static void attention_unit(const void* task, int unit) {
    const attention* a = task;
    const int u = unit / a->chunks / a->heads, head = unit / a->chunks % a->heads, d = a->heads * a->size;
    const int chunk = even(a->queries[u + 1] - a->queries[u], QUERIES), row = a->queries[u] + unit % a->chunks * chunk;
    const int rows = least(chunk, a->queries[u + 1] - row);
    if (rows <= 0) return;
    const int keys = a->keys[u + 1] - a->keys[u], across = wide(keys);
    const float* packed = packed_head(a, u, head);
    const linear to_scores = {.weights = (const char*)packed, .n = across, .k = a->size};
    const linear to_context = {.weights = (const char*)(packed + (size_t)across * a->size), .n = wide(a->size), .k = keys};
    float *scores = scratch_of((size_t)QUERIES * (across + wide(a->size))), factors[QUERIES];
    float *y = a->y + (size_t)row * d + head * a->size, *context = scores + (size_t)QUERIES * across;
    multiply(&to_scores, 0, across, across, rows, a->q + row * a->q_stride + head * a->size, a->q_stride, scores, across, 0);
    for (int i = 0; i < rows; i++)
        factors[i] = softmax_row(scores + (size_t)i * across, keys, 1.0f / sqrtf((float)a->size));
    multiply(&to_context, 0, wide(a->size), wide(a->size), rows, scores, across, context, wide(a->size), 0);
    for (int i = 0; i < rows; i++) scale_row(context + (size_t)i * wide(a->size), a->size, factors[i], y + (size_t)i * d);
}

/* y (m, heads * size) = softmax(q k^T / sqrt(size)) v, each utterance's queries with its own keys. `packed` is room for
   2 (rows of k + utterances * WIDTH) heads * size numbers, size in whole panels. */
void engine_attention(int utterances, const int* queries, const int* keys, int heads, int size, const float* q,
                      long q_stride, const float* k, const float* v, long k_stride, float* packed, float* y) {
    attention a = {utterances, heads, size, 0, queries, keys, q, k, v, q_stride, k_stride, packed, y};
    for (int u = 0; u < utterances; u++) {
        const int chunks = parts(queries[u + 1] - queries[u], QUERIES);
        a.chunks = chunks > a.chunks ? chunks : a.chunks;
    }
    everywhere(pack_unit, &a, utterances * heads);
    everywhere(attention_unit, &a, utterances * heads * a.chunks);
}

/* ---- recurrence of an LSTM ---- */

INLINE vec chosen(bits which, vec a, vec b) { return (vec)(((bits)a & which) | ((bits)b & ~which)); }
INLINE vec magnitude(vec x) { return (vec)((bits)x & 0x7fffffff); }

/* 1 / (1 + e^-x); NaN stays, here and below. */
INLINE vec sigmoid(vec x) {
    const vec e = exponential(-magnitude(x)), y = all(1.0f) / (all(1.0f) + e);
    return chosen(x < all(0.0f), e * y, y);
}

/* tanh: near 0 a polynomial, whose relative error is no larger there. */
INLINE vec tangent(vec x) {
    const vec size = magnitude(x), square = x * x, e = exponential(size * all(-2.0f));
    vec p = all(-5.70498872745e-3f);
    p = p * square + all(2.06390887954e-2f), p = p * square + all(-5.37397155531e-2f);
    p = p * square + all(1.33314422036e-1f), p = p * square + all(-3.33332819422e-1f);
    const vec far = all(1.0f) - all(2.0f) * e / (all(1.0f) + e);
    return chosen(size < all(0.625f), p * square * x + x, (vec)((bits)far | ((bits)x & ~0x7fffffff)));
}

enum { TOGETHER = 15 }; /* recordings that a thread reads weights for: their states stay in the second-level cache */

typedef struct {
    int batch, steps, size, kind, share; /* share: recordings that a thread reads weights for */
    const char* const* weights;          /* of each direction (4 size, size): input, forget, cell, output gate */
    const float* gates;
    float* states;
} lstm;

typedef vec four_sums[4][LANES]; /* of LANES units of one recording: a vector of partial sums for each gate */

/* A unit's part of the sums of one recording, or of two or three that lie `apart`; a sum's order is the same. */
INLINE void add_up(int kind, int count, const lstm* l, const char* row, const float* h, long apart, four_sums* sums,
                   int unit) {
    const long stride = (long)l->size * bits_of(kind) / 8, gate = stride * l->size;
    vec sum[3][4] = {{{0}}};
    for (int i = 0; i < l->size; i += LANES)
        for (int g = 0; g < 4; g++) {
            const vec w = numbers(kind, row + g * gate, i);
            for (int r = 0; r < count; r++) sum[r][g] += w * *(const vec*)(h + r * apart + i);
        }
    for (int r = 0; r < count; r++)
        for (int g = 0; g < 4; g++) sums[r][g][unit] = sum[r][g];
}

#define COUNTED(kind, count) add_up(kind, count, l, row, h + r * apart, apart, sums + r, unit)
#define SUMS_OF(kind) case kind: \
    for (int r = 0; r < many; r += 3) \
        many - r > 2 ? COUNTED(kind, 3) : many - r > 1 ? COUNTED(kind, 2) : COUNTED(kind, 1); \
    break;
static void unit_sums(const lstm* l, int many, const char* row, const float* h, long apart, four_sums* sums, int unit) {
    switch (l->kind) { SUMS_OF(FLOAT32) SUMS_OF(FLOAT16) SUMS_OF(BFLOAT16) }
}

INLINE vec gate_of(const vec sums[LANES], const float* inputs) {
    vec turned[LANES];
    turn(sums, turned);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) turned[i] += turned[i + half];
    return turned[0] + *(const vec*)inputs;
}

/* LANES units of one recording take a step: their cells are written anew, and their states. */
static void take_step(const four_sums sums, int size, const float* inputs, float* cells, float* state) {
    const vec in = gate_of(sums[0], inputs), forget = gate_of(sums[1], inputs + size);
    const vec cell = gate_of(sums[2], inputs + 2 * size), out = gate_of(sums[3], inputs + 3 * size);
    const vec c = sigmoid(forget) * *(const vec*)cells + sigmoid(in) * tangent(cell);
    *(vec*)cells = c, *(vec*)state = sigmoid(out) * tangent(c);
}

/* Some recordings in one direction, from zero states on: all their steps. */
static void lstm_unit(const void* task, int unit) {
    const lstm* l = task;
    const int shares = parts(l->batch, l->share), first = unit % shares * l->share, size = l->size;
    const int many = least(l->share, l->batch - first);
    const size_t rows = ((size_t)(unit / shares) * l->batch + first) * l->steps; /* of these recordings on */
    const long stride = (long)size * bits_of(l->kind) / 8;
    const char* weights = l->weights[unit / shares];
    float *cells = scratch_of((size_t)many * (size + sizeof(four_sums) / sizeof(float)) + size), *zeros = cells + many * size;
    four_sums* sums = (four_sums*)(zeros + size);
    memset(cells, 0, (size_t)(many + 1) * size * sizeof(float));
    for (int step = 0; step < l->steps; step++) {
        const float* h = step ? l->states + (rows + step - 1) * size : zeros;
        const long apart = step ? (long)l->steps * size : 0;
        for (int at = 0; at < size; at += LANES) {
            for (int i = 0; i < LANES; i++) unit_sums(l, many, weights + (at + i) * stride, h, apart, sums, i);
            for (int r = 0; r < many; r++) {
                const size_t row = rows + (size_t)r * l->steps + step;
                take_step(sums[r], size, l->gates + row * 4 * size + at, cells + r * size + at, l->states + row * size + at);
            }
        }
    }
}

/* states (directions, batch, steps, size) of recurrences side by side, each with its own weights: what inputs and biases
   add to the gates is given, (directions, batch, steps, 4 size); size is whole vectors. A thread takes one direction of
   some recordings through all steps, so none waits for another within a step. */
void engine_lstm(int directions, int batch, int steps, int size, int kind, const char* const* weights, const float* gates,
                 float* states) {
    const int shares = least(batch, helpers + 1 > directions ? (helpers + 1) / directions : 1);
    const int share = least(parts(batch, shares), TOGETHER);
    lstm l = {batch, steps, size, kind, share, weights, gates, states};
    everywhere(lstm_unit, &l, directions * parts(batch, l.share));
}

/* ---- small weights, made into panels once ---- */

/* Write the weights w as what a linear of kind PANELS has: k (n in whole panels) numbers. */
void engine_pack(const linear* w, float* packed) {
    float panel[DEPTH * WIDTH] __attribute__((aligned(64))); /* whole vectors of inputs are made, and fewer may be kept */
    for (int deep = 0; deep < w->k; deep += DEPTH)
        for (int column = 0; column < w->n; column += WIDTH) {
            const int depth = least(DEPTH, w->k - deep);
            make_panel(w, stride_of(w), column, deep, depth, panel);
            memcpy(packed, panel, (size_t)depth * WIDTH * sizeof(float)), packed += depth * WIDTH;
        }
}

/* ---- taps of an FSMN that may stand apart, behind frames of the past, in a stream ---- */

typedef struct {
    int utterances, d, taps, dilation, past;
    const int* starts;
    const float *weights, *before, *v; /* before: (utterances, past, d) */
    long stride;
    float* y;
} recall;

/* How many taps stand before a frame, where the first of them stands `ahead` frames before it. */
static int taps_before(const recall* r, int ahead) { return ahead > 0 ? least(r->taps, parts(ahead, r->dilation)) : 0; }

/* The row at `row` of an utterance whose first is v and whose past ends before `end`; the last tap is on the row itself. */
static void recall_row(const recall* r, int row, const float* v, const float* end, float* y) {
    const int first = row - (r->taps - 1) * r->dilation, from = taps_before(r, -r->past - first), own = taps_before(r, -first);
    const long step = r->dilation * r->stride, past_step = (long)r->dilation * r->d;
    const float *frames = v + first * r->stride, *past = end + (long)first * r->d;
    for (int i = 0; i < r->d; i += LANES) {
        vec sum = all(0.0f);
        for (int tap = from; tap < own; tap++)
            sum += *(const vec*)(past + tap * past_step + i) * *(const vec*)(r->weights + tap * r->d + i);
        for (int tap = own; tap < r->taps; tap++)
            sum += *(const vec*)(frames + tap * step + i) * *(const vec*)(r->weights + tap * r->d + i);
        *(vec*)(y + i) += sum;
    }
}

static void recall_unit(const void* task, int unit) {
    const recall* r = task;
    int row = unit * MEMORY_ROWS, end = least(r->starts[r->utterances], row + MEMORY_ROWS), u = 0;
    for (; row < end; row++) {
        while (r->starts[u + 1] <= row) u++;
        recall_row(r, row - r->starts[u], r->v + r->starts[u] * r->stride, r->before + (long)(u + 1) * r->past * r->d,
                   r->y + (size_t)row * r->d);
    }
}

/* Added to y (m, d): the convolution of v, whose rows are `stride` apart, with taps `dilation` frames apart, the last of
   them on the row itself; weights (taps, d), d whole vectors. Before an utterance stand `past` frames of its own,
   (utterances, past, d), and zeros before those. */
void engine_recall(int utterances, const int* starts, int d, int taps, int dilation, const float* weights, int past,
                   const float* before, const float* v, long stride, float* y) {
    recall r = {utterances, d, taps, dilation, past, starts, weights, before, v, stride, y};
    const int m = starts[utterances];
    where_it_pays(recall_unit, &r, parts(m, MEMORY_ROWS), (double)m * d * taps);
}

/* ---- softmax ---- */

typedef struct { int m, n; const float* x; long stride; float* y; } softmax;

static void softmax_unit(const void* task, int unit) {
    const softmax* s = task;
    for (int row = unit * NORM_ROWS; row < least(s->m, (unit + 1) * NORM_ROWS); row++) {
        float* y = s->y + (size_t)row * s->n;
        memcpy(y, s->x + row * s->stride, s->n * sizeof(float));
        const float factor = softmax_row(y, s->n, 1.0f);
        for (int i = 0; i < s->n; i++) y[i] *= factor;
    }
}

/* y (m, n) = softmax of x over n, any number; x's rows are `stride` apart. */
void engine_softmax(int m, int n, const float* x, long stride, float* y) {
    softmax s = {m, n, x, stride, y};
    where_it_pays(softmax_unit, &s, parts(m, NORM_ROWS), 30.0 * m * n); /* what an exponential takes */
}
