"""add(BIGINT, BIGINT) on a real Flink (MiniCluster), by row and in pandas: flink.py ROWS REPEAT PARALLELISM BUNDLE.

The source is Flink's own generator and the sink discards, so what is measured is the function. A small
job is run first; the time of a job with no rows to speak of is taken off.
"""
import sys
import time

from pyflink.table import DataTypes
from pyflink.table import EnvironmentSettings
from pyflink.table import TableEnvironment
from pyflink.table.udf import udf


def environment(parallelism, bundle):
    t = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    config = t.get_config()
    for key, value in {
            'parallelism.default': parallelism, 'python.executable': sys.executable, 'table.local-time-zone': 'UTC',
            'python.fn-execution.bundle.size': bundle, 'python.fn-execution.arrow.batch.size': '10000'}.items():
        config.set(key, value)
    return t


def run(t, name, rows):
    t.execute_sql(f"CREATE TEMPORARY TABLE IF NOT EXISTS src{rows} (a BIGINT, b BIGINT) WITH ('connector' = 'datagen', "
                  f"'rows-per-second' = '1000000000', 'number-of-rows' = '{rows}', 'fields.a.kind' = 'sequence', 'fields.a.start' = '0', "
                  f"'fields.a.end' = '{rows - 1}', 'fields.b.min' = '0', 'fields.b.max' = '1000000')")
    t.execute_sql("CREATE TEMPORARY TABLE IF NOT EXISTS nowhere (s BIGINT) WITH ('connector' = 'blackhole')")
    start = time.time()
    t.execute_sql(f'INSERT INTO nowhere SELECT {name}(a, b) FROM src{rows}').wait()
    return time.time() - start


def main():
    rows, repeat = int(sys.argv[1]), int(sys.argv[2])
    t = environment(sys.argv[3], sys.argv[4])
    t.create_temporary_function('row_add', udf(lambda a, b: a + b, result_type=DataTypes.BIGINT()))
    t.create_temporary_function('pandas_add', udf(lambda a, b: a + b, result_type=DataTypes.BIGINT(), func_type='pandas'))
    for name in ('row_add', 'pandas_add'):
        run(t, name, 100)
        base = min(run(t, name, 100) for _ in range(2))
        for _ in range(repeat):
            took = run(t, name, rows)
            print(f'Flink, {name:18s} {rows:12d} rows {took:8.2f}s, {base:.2f}s of it start: '
                  f'{rows / (took - base):.0f} rows/s', flush=True)


if __name__ == '__main__':
    main()
