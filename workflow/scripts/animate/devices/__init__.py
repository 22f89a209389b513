"""Which GPUs a process holds, on which device it computes, and with which ranks."""
