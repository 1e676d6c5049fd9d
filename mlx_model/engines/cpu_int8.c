/* Products of int8 weights and inputs that are rounded to 8 bits as they come, for CPUs: sums of integers, exactly.

   A weight is scale[output] * an integer of -127 to 127, stored so, row after row, and read where it lies in its file. A
   row of inputs becomes 127 steps to either side of 0, of the size of its largest number / 127. An output is

       (float) sum * (scale of the output * step of the row) + bias

   rounded after each of these operations (-ffp-contract=off), so that every body gives the same bits: sums are integers,
   exact in 32 bits up to 133,000 inputs. Inputs are given 128 more, and sums begin with 128 times less the weights:
   processors multiply bytes without by bytes with a sign, four of each at a time, into a sum of 32 bits:

   - AVX-512 VNNI and AVX-VNNI (-mavx512vnni, -mavxvnni): vpdpbusd, which does not saturate.
   - AVX2: vpmaddubsw, whose sums of two products must fit 16 bits: they do, 255 * 128 = 32,640, where two neighbouring
     weights are not larger than 128 together, which a conversion sees to (round_weight in parts/int8.py). A panel of
     weights where some are is multiplied in 16 bits, by vpmaddwd: slower, and as exact.
   - anything else, and -DEMULATED: what vpdpbusd does, in plain C; with -DLANES=16 in the shape of the AVX-512 body.

   cpu_int8.py calls this with the threads of cpu_engine.c. */

#include <stdlib.h>
#include <string.h>

#if defined __AVX2__
#include <immintrin.h>
#endif

#if defined __AVX512VNNI__ && !defined LANES
#define LANES 16
#elif !defined LANES
#define LANES 8
#endif
#if defined __AVX2__ && !defined __AVX512VNNI__ && !defined __AVXVNNI__ && !defined EMULATED
#define BY_AVX2 1 /* whether sums of two products have 16 bits */
#else
#define BY_AVX2 0
#endif

enum { WIDTH = 2 * LANES };          /* outputs of a panel */
enum { ROWS = LANES == 16 ? 12 : 6 }; /* a tile of the result, ROWS x WIDTH, takes 24 of 32 registers, or 12 of 16 */
enum { BLOCK = 192 };                /* rows that meet a panel before the next */
enum { ACROSS = 4 * WIDTH };         /* outputs of a unit of work */
enum { CHUNK = 32 };                 /* inputs that are turned at a time: rows are filled up with zeros to so many */
enum { STEPS = CHUNK / 4 };          /* of a chunk: one operation multiplies four inputs */
enum { DEPTH = 16 };                 /* chunks at a time: their panel takes half of a first-level cache */
enum { MOST = 127 };

typedef int ints __attribute__((vector_size(4 * LANES), aligned(4)));
typedef float floats __attribute__((vector_size(4 * LANES), aligned(4)));
typedef void (*everywhere)(void (*run)(const void* task, int unit), const void* task, int units);
#define INLINE static inline __attribute__((always_inline))

static int least(int a, int b) { return a < b ? a : b; }
static int parts(int size, int part) { return (size + part - 1) / part; }

typedef struct {
    const signed char* weights; /* (n, k) */
    const float *scales, *bias; /* (n,), room for whole panels; bias may be NULL: none */
    int n, k;                   /* outputs, inputs */
} int8_linear;

int int8_width(void) { return WIDTH; } /* results have room for whole panels */

/* How many numbers of 32 bits a row of k inputs becomes. */
int int8_steps(int k) { return parts(k, CHUNK) * STEPS; }

/* ---- inputs ---- */

typedef struct { int m, k; const float* x; long apart; int* rounded; float* sizes; } inputs; /* apart: of x's rows */

enum { INPUT_ROWS = 16 };

/* Round a row to steps of its largest number / 127, and return their size: NaN where one is no finite number. */
static float round_row(int k, const float* x, int* out) {
    int top = 0;
    for (int i = 0; i < k; i++) {
        int bits;
        memcpy(&bits, x + i, 4);
        bits &= 0x7fffffff; /* of the magnitude: in the order of numbers */
        top = bits > top ? bits : top;
    }
    float largest;
    memcpy(&largest, &top, 4);
    const int finite = top < 0x7f800000;
    const float factor = finite && largest > 1e-30f ? MOST / largest : 0.0f;
    for (int at = 0; at < k; at += CHUNK, out += STEPS) {
        unsigned char bytes[CHUNK];
        float scaled[CHUNK] = {0};
        if (factor != 0.0f) memcpy(scaled, x + at, least(CHUNK, k - at) * sizeof(float));
        for (int i = 0; i < CHUNK; i++) {
            const float whole = scaled[i] * factor + 12582912.0f; /* 1.5 * 2^23: its last bits are the nearest integer */
            int bits;
            memcpy(&bits, &whole, 4);
            bytes[i] = (unsigned char)(bits + 128);
        }
        memcpy(out, bytes, CHUNK);
    }
    return !finite ? largest - largest : factor == 0.0f ? 0.0f : largest / MOST;
}

static void inputs_unit(const void* task, int unit) {
    const inputs* t = task;
    for (int row = unit * INPUT_ROWS; row < least(t->m, (unit + 1) * INPUT_ROWS); row++)
        t->sizes[row] = round_row(t->k, t->x + row * t->apart, t->rounded + (size_t)row * int8_steps(t->k));
}

/* ---- panels of weights ---- */

/* Eight numbers of 32 bits (four weights each) of eight rows, turned; `pairs` are the largest sums of two magnitudes. */
#if defined __AVX2__
INLINE void put_turned(const signed char* const rows[8], int* panel, __m256i* pairs) {
    __m256 a[8], b[8], turned[8];
    for (int i = 0; i < 8; i += 2) {
        const __m256 even = _mm256_loadu_ps((const float*)rows[i]), odd = _mm256_loadu_ps((const float*)rows[i + 1]);
        a[i] = _mm256_unpacklo_ps(even, odd), a[i + 1] = _mm256_unpackhi_ps(even, odd);
    }
    for (int i = 0; i < 8; i += 4)
        for (int h = 0; h < 2; h++) {
            b[i + 2 * h] = _mm256_shuffle_ps(a[i + h], a[i + 2 + h], 0x44);
            b[i + 2 * h + 1] = _mm256_shuffle_ps(a[i + h], a[i + 2 + h], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        turned[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        turned[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++) {
        const __m256i four = _mm256_castps_si256(turned[i]);
        _mm256_storeu_si256((__m256i*)(panel + i * WIDTH), four);
        if (BY_AVX2) *pairs = _mm256_max_epi16(*pairs, _mm256_maddubs_epi16(_mm256_abs_epi8(four), _mm256_set1_epi8(1)));
    }
}
#else
typedef int __m256i; /* never looked at */
INLINE void put_turned(const signed char* const rows[8], int* panel, __m256i* pairs) {
    (void)pairs;
    for (int i = 0; i < 8; i++)
        for (int row = 0; row < 8; row++) memcpy(panel + i * WIDTH + row, rows[row] + 4 * i, 4);
}
#endif

/* Chunks [deep, deep + depth) of WIDTH outputs from `column`; behind the last output it is repeated. Returns whether two
   neighbouring weights may be larger than 128 together, where that matters. */
static int make_panel(const int8_linear* w, int column, int deep, int depth, int* panel) {
    __m256i pairs = {0};
    for (int first = 0; first < WIDTH; first += 8) {
        const signed char* rows[8];
        for (int j = 0; j < 8; j++) rows[j] = w->weights + (size_t)least(column + first + j, w->n - 1) * w->k + deep * CHUNK;
        for (int chunk = 0; chunk < depth; chunk++) {
            const int left = w->k - (deep + chunk) * CHUNK;
            signed char filled[8][CHUNK] = {{0}};
            if (left < CHUNK)
                for (int j = 0; j < 8; j++) memcpy(filled[j], rows[j], left), rows[j] = filled[j];
            put_turned(rows, panel + chunk * STEPS * WIDTH + first, &pairs);
            for (int j = 0; j < 8; j++) rows[j] += CHUNK; /* behind the last chunk nobody looks */
        }
    }
#if BY_AVX2
    return _mm256_movemask_epi8(_mm256_cmpgt_epi16(pairs, _mm256_set1_epi16(128))) != 0;
#else
    return 0;
#endif
}

/* ---- products ---- */

/* sum + what x, the same for all lanes, gives with w; `large`: as make_panel returns it. */
INLINE ints dot(ints sum, int x, ints w, int large) {
#if BY_AVX2
    if (!large) {
        const __m256i twos = _mm256_maddubs_epi16(_mm256_set1_epi32(x), (__m256i)w);
        return sum + (ints)_mm256_madd_epi16(twos, _mm256_set1_epi16(1));
    }
    const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16((__m256i)w, 8), 8), odd = _mm256_srai_epi16((__m256i)w, 8);
    sum += (ints)_mm256_madd_epi16(_mm256_set1_epi32(x & 0xff00ff), even);
    return sum + (ints)_mm256_madd_epi16(_mm256_set1_epi32(x >> 8 & 0xff00ff), odd);
#elif defined __AVX512VNNI__ && !defined EMULATED
    return (ints)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(x), (__m512i)w);
#elif defined __AVXVNNI__ && !defined EMULATED
    return (ints)_mm256_dpbusd_avx_epi32((__m256i)sum, _mm256_set1_epi32(x), (__m256i)w);
#else
    for (int byte = 0; byte < 32; byte += 8) sum += ((w << (24 - byte)) >> 24) * (x >> byte & 255);
    return sum;
#endif
}

/* What sums of a panel begin with, as inputs have 128 added. */
INLINE void begin(int steps, const int* panel, int large, ints start[2]) {
    start[0] = start[1] = (ints){0};
    for (int i = 0; i < steps; i++, panel += WIDTH)
        for (int h = 0; h < 2; h++) start[h] = dot(start[h], (int)0x80808080, *(const ints*)(panel + h * LANES), large);
    start[0] = -start[0], start[1] = -start[1];
}

/* Where a tile's results go: into y behind the last inputs, before that into `partial`. */
typedef struct {
    int first, last, add, relu;
    const float *scales, *bias, *sizes;
    int* partial;
    long partial_stride;
    float* y;
    long stride;
} target;

INLINE void put(const target* t, int row, int half, ints sum) {
    const floats scale = *(const floats*)(t->scales + half * LANES) * t->sizes[row];
    floats* out = (floats*)(t->y + row * t->stride + half * LANES);
    floats value = __builtin_convertvector(sum, floats) * scale;
    if (t->bias) value += *(const floats*)(t->bias + half * LANES);
    if (t->add) value += *out;
    if (t->relu) value = (floats)((ints)value & ~(value < 0.0f)); /* NaN stays */
    *out = value;
}

INLINE void tile(int rows, int steps, const int* x, long ldx, const int* panel, int large, const ints start[2],
                 const target* t, int row) {
    ints sum[ROWS][2];
    for (int i = 0; i < rows; i++)
        for (int h = 0; h < 2; h++) {
            sum[i][h] = start[h];
            if (!t->first) sum[i][h] += *(const ints*)(t->partial + (row + i) * t->partial_stride + h * LANES);
        }
    for (int step = 0; step < steps; step++, panel += WIDTH) {
        const ints left = *(const ints*)panel, right = *(const ints*)(panel + LANES);
        for (int i = 0; i < rows; i++) {
            const int both = x[i * ldx + step];
            sum[i][0] = dot(sum[i][0], both, left, large), sum[i][1] = dot(sum[i][1], both, right, large);
        }
    }
    for (int i = 0; i < rows; i++)
        for (int h = 0; h < 2; h++)
            if (t->last)
                put(t, row + i, h, sum[i][h]);
            else
                *(ints*)(t->partial + (row + i) * t->partial_stride + h * LANES) = sum[i][h];
}

#define ROWS_ARE(n) case n: tile(n, steps, x, ldx, panel, 0, start, t, row); break;
static void any_tile(int rows, int steps, const int* x, long ldx, const int* panel, const ints start[2], const target* t,
                     int row) {
    switch (rows) {
        ROWS_ARE(1) ROWS_ARE(2) ROWS_ARE(3) ROWS_ARE(4) ROWS_ARE(5) ROWS_ARE(6)
#if LANES == 16
        ROWS_ARE(7) ROWS_ARE(8) ROWS_ARE(9) ROWS_ARE(10) ROWS_ARE(11) ROWS_ARE(12)
#endif
    }
}

/* The same where weights are large; row by row. */
static void large_tile(int rows, int steps, const int* x, long ldx, const int* panel, const ints start[2],
                       const target* t, int row) {
    for (int i = 0; i < rows; i++) tile(1, steps, x + i * ldx, ldx, panel, 1, start, t, row + i);
}

/* A panel times m rows, in tiles of even size, while the weights of the next one are fetched, a share with every tile. */
static void times_panel(int m, int steps, const int* x, long ldx, const int* panel, int large, const target* t,
                        const signed char* next, long next_stride) {
    const int tiles = parts(m, ROWS), lines = WIDTH * DEPTH / 2, share = parts(lines, tiles);
    ints start[2];
    begin(steps, panel, large, start);
    for (int i = 0, line = 0; i < tiles; i++) {
        const int row = i * m / tiles, rows = (i + 1) * m / tiles - row;
        for (const int end = least(lines, line + share); line < end; line++)
            __builtin_prefetch(next + line % WIDTH * next_stride + line / WIDTH * 64, 0, 2);
        (large ? large_tile : any_tile)(rows, steps, x + row * ldx, ldx, panel, start, t, row);
    }
}

typedef struct {
    const int8_linear* w;
    int m, rows, add, relu; /* rows: of one unit */
    const int* x;
    const float* sizes;
    float* y;
    long stride;
} product;

static void product_unit(const void* task, int unit) {
    const product* p = task;
    const int8_linear* w = p->w;
    const int across = parts(w->n, ACROSS), top = unit / across * p->rows, first = unit % across * ACROSS;
    const int end = least(w->n, first + ACROSS), m = least(p->rows, p->m - top), chunks = parts(w->k, CHUNK);
    const long ldx = int8_steps(w->k);
    int panel[DEPTH * STEPS * WIDTH] __attribute__((aligned(64)));
    static _Thread_local int partial[BLOCK * ACROSS] __attribute__((aligned(64)));
    for (int deep = 0; deep < chunks; deep += DEPTH) {
        const int depth = least(DEPTH, chunks - deep), last = deep + depth == chunks;
        for (int column = first; column < end; column += WIDTH) {
            const int more = column + WIDTH < end, row = more ? column + WIDTH : first;
            const target t = {
                .first = !deep, .last = last, .add = p->add, .relu = p->relu, .scales = w->scales + column,
                .bias = w->bias ? w->bias + column : NULL, .sizes = p->sizes + top, .partial = partial + column - first,
                .partial_stride = ACROSS, .y = p->y + top * p->stride + column, .stride = p->stride,
            };
            const int large = make_panel(w, column, deep, depth, panel);
            times_panel(m, depth * STEPS, p->x + top * ldx + deep * STEPS, ldx, panel, large, &t,
                        w->weights + (size_t)row * w->k + (more ? deep : deep + depth) * CHUNK, w->k);
        }
    }
}

static int even(int rows) { return rows > 0 ? parts(parts(rows, parts(rows, BLOCK)), ROWS) * ROWS : BLOCK; }

/* y (m, n), rows `stride` apart, with room for whole panels, = relu?(x (m, k) w^T + bias), or added to y; rows of x lie
   `apart`. `rounded` is room for m rows of int8_steps(k) numbers, `sizes` for m: what x is rounded to. */
void int8_product(everywhere threads, const int8_linear* w, int m, const float* x, long apart, int* rounded, float* sizes,
                  float* y, long stride, int add, int relu) {
    const inputs i = {m, w->k, x, apart, rounded, sizes};
    const product p = {w, m, even(m), add, relu, rounded, sizes, y, stride};
    threads(inputs_unit, &i, parts(m, INPUT_ROWS));
    threads(product_unit, &p, parts(m, p.rows) * parts(w->n, ACROSS));
}
