"""The other hosts of a job: who of them failed first, and who has gone without a word. It knows neither the init nor files."""
