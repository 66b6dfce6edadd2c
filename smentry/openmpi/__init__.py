"""The programs around mpirun on the hosts of a job. They know ssh and Open MPI, and nothing of smentry, which only names them."""
