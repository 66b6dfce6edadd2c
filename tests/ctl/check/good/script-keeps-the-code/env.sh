# Sourced by the others; nothing to execute.
export OMP_NUM_THREADS=4
