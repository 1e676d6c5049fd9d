"""The ground: BLAS, compiler, device, child processes, mapped tensors. No model and no layer."""
