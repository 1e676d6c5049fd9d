/* OpenBLAS's matrix products under the names that MLX looks for; see openblas.py. */

#define ARGUMENTS order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc
#define GEMM(name, scalar, element)                                                                     \
    extern void scipy_##name(int, int, int, int, int, int, scalar, const element*, int, const element*, \
                             int, scalar, element*, int);                                               \
    void name(int order, int ta, int tb, int m, int n, int k, scalar alpha, const element* a, int lda,  \
              const element* b, int ldb, scalar beta, element* c, int ldc) {                            \
        scipy_##name(ARGUMENTS);                                                                        \
    }
GEMM(cblas_sgemm, float, float)
GEMM(cblas_dgemm, double, double)
GEMM(cblas_cgemm, const void*, void)
