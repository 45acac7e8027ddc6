#!/usr/bin/env python3
"""Golden file for parquet as pyarrow writes it by default: snappy, dictionaries, lists of records.

    parquet.py OUT.parquet        needs pyarrow==26.0.1
"""
import sys

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 25

turn = pa.struct([("content", pa.string()), ("role", pa.string())])
table = pa.table(
    {
        "id": pa.array(range(ROWS), pa.int64()),
        "text": pa.array([f"text {i}" for i in range(ROWS)], pa.large_string()),
        "topic": pa.array([f"topic {i % 3}" for i in range(ROWS)]).dictionary_encode(),
        "messages": pa.array(
            [
                [
                    {"role": "user", "content": f"question {i}"},
                    {"role": "assistant", "content": f"answer {i} é"},
                ]
                for i in range(ROWS)
            ],
            pa.list_(turn),
        ),
    }
)
pq.write_table(table, sys.argv[1], row_group_size=10)
