"""How the benchmarks report: tables, JSON, charts, and the machine that a result depends on."""
