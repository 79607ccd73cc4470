"""DuckDB's own Python functions on the query of main.go: python peer.py ROWS REPEAT THREADS."""
import sys
import time

import duckdb
import pyarrow.compute as pc


def native(a, b):
    return a + b


def arrow(a, b):
    return pc.add(a, b)


def main():
    rows, repeat, threads = map(int, sys.argv[1:4])
    con = duckdb.connect(config={'threads': threads})
    con.create_function('native_add', native, ['BIGINT', 'BIGINT'], 'BIGINT', type='native')
    con.create_function('arrow_add', arrow, ['BIGINT', 'BIGINT'], 'BIGINT', type='arrow')
    for name in ('native', 'arrow'):
        for _ in range(repeat):
            start = time.time()
            (total,), = con.sql(f'SELECT sum({name}_add(i, 7 * i + 3))::BIGINT FROM range({rows}) t(i)').fetchall()
            took = time.time() - start
            assert total == 4 * rows * (rows - 1) + 3 * rows
            print(f'peer {name:7s} {rows} rows in {took:.3f}s: {rows / took:.0f} rows/s', flush=True)


if __name__ == '__main__':
    main()
