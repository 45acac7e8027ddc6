//! The structs of parquet's metadata, as far as the library reads them: the ids and kinds of their fields.
//! Source: `parquet.thrift` of parquet-format, and what the library (60.1) adds to it.

use super::thrift::{Field, Kind};
use Kind::{Binary, Bool, Double, I8, I16, I32, I64, List, Struct};

/// At the end of a file: version, schema, rows, groups of rows, notes, who made it, orders of the columns.
pub(super) const FILE_METADATA: &[Field] = &[
    (1, I32),
    (2, List(Some(&Struct(SCHEMA_ELEMENT)))),
    (3, I64),
    (4, List(Some(&Struct(ROW_GROUP)))),
    (5, List(Some(&Struct(KEY_VALUE)))),
    (6, Binary),
    (7, List(Some(&Struct(UNION_OF_EMPTY)))),
];

/// Type and its length, repetition, name, children, converted type, scale, precision, id, logical type.
pub(super) const SCHEMA_ELEMENT: &[Field] = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, Binary),
    (5, I32),
    (6, I32),
    (7, I32),
    (8, I32),
    (9, I32),
    (10, Struct(LOGICAL_TYPE)),
];

/// A union; some of what it may be has fields: decimal, time, timestamp, integer, variant, geometry, geography.
const LOGICAL_TYPE: &[Field] = &[
    (1, EMPTY),
    (2, EMPTY),
    (3, EMPTY),
    (4, EMPTY),
    (5, Struct(&[(1, I32), (2, I32)])),
    (6, EMPTY),
    (7, TIME),
    (8, TIME),
    (10, Struct(&[(1, I8), (2, Bool)])),
    (11, EMPTY),
    (12, EMPTY),
    (13, EMPTY),
    (14, EMPTY),
    (15, EMPTY),
    (16, Struct(&[(1, I8)])),
    (17, Struct(&[(1, Binary)])),
    (18, Struct(&[(1, Binary), (2, I32)])),
    (19, EMPTY),
];

const EMPTY: Kind = Struct(&[]);

/// Whether it is in UTC, unit.
const TIME: Kind = Struct(&[(1, Bool), (2, Struct(UNION_OF_EMPTY))]);

/// A union of things that have no fields.
const UNION_OF_EMPTY: &[Field] = &[(1, EMPTY), (2, EMPTY), (3, EMPTY)];

/// Columns, bytes, rows, columns by which it is sorted, offset, bytes when compressed, place among the groups.
const ROW_GROUP: &[Field] = &[
    (1, List(Some(&Struct(COLUMN_CHUNK)))),
    (2, I64),
    (3, I64),
    (4, List(Some(&Struct(&[(1, I32), (2, Bool), (3, Bool)])))),
    (5, I64),
    (6, I64),
    (7, I16),
];

/// File, offset, metadata, offsets and lengths of the two indexes.
const COLUMN_CHUNK: &[Field] = &[
    (1, Binary),
    (2, I64),
    (3, Struct(COLUMN_METADATA)),
    (4, I64),
    (5, I32),
    (6, I64),
    (7, I32),
];

/// Type, encodings, path, codec, values, bytes, bytes when compressed, notes, offsets of data, index and
/// dictionary, statistics, encodings of the pages, filter and its length, statistics of sizes and of places.
const COLUMN_METADATA: &[Field] = &[
    (1, I32),
    (2, List(Some(&I32))),
    (3, List(Some(&Binary))),
    (4, I32),
    (5, I64),
    (6, I64),
    (7, I64),
    (8, List(Some(&Struct(KEY_VALUE)))),
    (9, I64),
    (10, I64),
    (11, I64),
    (12, Struct(STATISTICS)),
    (13, List(Some(&Struct(&[(1, I32), (2, I32), (3, I32)])))),
    (14, I64),
    (15, I32),
    (
        16,
        Struct(&[(1, I64), (2, List(Some(&I64))), (3, List(Some(&I64)))]),
    ),
    (
        17,
        Struct(&[(1, Struct(BOUNDING_BOX)), (2, List(Some(&I32)))]),
    ),
];

const KEY_VALUE: &[Field] = &[(1, Binary), (2, Binary)];

/// Largest and least of old, nulls, distinct values, largest and least, whether these are exact, NaNs.
const STATISTICS: &[Field] = &[
    (1, Binary),
    (2, Binary),
    (3, I64),
    (4, I64),
    (5, Binary),
    (6, Binary),
    (7, Bool),
    (8, Bool),
    (9, I64),
];

const BOUNDING_BOX: &[Field] = &[
    (1, Double),
    (2, Double),
    (3, Double),
    (4, Double),
    (5, Double),
    (6, Double),
    (7, Double),
    (8, Double),
];

/// Before each page: type, size without and with compression, checksum, and the header of its kind: of data,
/// of an index, of a dictionary, of data of the second version.
pub(super) const PAGE_HEADER: &[Field] = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, I32),
    (5, Struct(DATA_PAGE_HEADER)),
    (6, EMPTY),
    (7, Struct(DICTIONARY_PAGE_HEADER)),
    (8, Struct(DATA_PAGE_HEADER_V2)),
];

/// Values, encoding, encodings of the levels, statistics.
pub(super) const DATA_PAGE_HEADER: &[Field] = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, I32),
    (5, Struct(STATISTICS)),
];

/// Values, encoding, whether they are sorted.
const DICTIONARY_PAGE_HEADER: &[Field] = &[(1, I32), (2, I32), (3, Bool)];

/// Values, nulls, rows, encoding, bytes of the levels, whether it is compressed, statistics.
pub(super) const DATA_PAGE_HEADER_V2: &[Field] = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, I32),
    (5, I32),
    (6, I32),
    (7, Bool),
    (8, Struct(STATISTICS)),
];
