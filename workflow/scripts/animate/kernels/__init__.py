"""Fast arithmetic on a GPU: attention, fused kernels, fp8 and compilation."""
