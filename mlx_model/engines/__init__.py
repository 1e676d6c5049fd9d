"""How rows are computed: on CPU kernels of our own, in lanes, on a GPU."""
