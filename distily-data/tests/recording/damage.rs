//! Bytes that are not as they were written.

use super::*;
use serde_json::Value;

/// Where a byte of a shard is, as an error says it.
struct Places {
    /// Where the data begins.
    data: usize,
    /// For each data tensor, where it ends and the bytes of each row.
    tensors: Vec<(usize, Vec<usize>)>,
}

impl Places {
    /// From the header, as any reader of safetensors has it.
    fn of(shard: &[u8]) -> Self {
        let length = u64::from_le_bytes(*shard.first_chunk().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&shard[8..8 + length]).unwrap();
        let range = |name: &str| {
            let range: [usize; 2] =
                serde_json::from_value(header[name]["data_offsets"].clone()).unwrap();
            range.map(|at| at + 8 + length)
        };
        let words = |name: &str| -> Vec<usize> {
            let [start, end] = range(name);
            let words = shard[start..end].as_chunks().0.iter();
            words
                .map(|&word| u32::from_le_bytes(word) as usize)
                .collect()
        };
        let (tokens, entries) = (words("row_tokens"), words("row_entries"));
        let tensors = [
            "ids",
            "log_probabilities",
            "tail",
            "lengths",
            "hidden.1",
            "hidden.3",
        ];
        let tensors = tensors.map(|name| {
            let [start, end] = range(name);
            let of_rows = if entries.iter().sum::<usize>() * 2 == end - start {
                &entries
            } else {
                &tokens
            };
            let each = (end - start) / of_rows.iter().sum::<usize>();
            (end, of_rows.iter().map(|count| count * each).collect())
        });
        Self {
            data: range("row_entries")[1],
            tensors: tensors.to_vec(),
        }
    }

    fn name(&self, byte: usize) -> String {
        if byte < self.data {
            return format!("bytes 0 to {}", self.data);
        }
        let (end, rows) = self.tensors.iter().find(|(end, _)| byte < *end).unwrap();
        let mut at = end - rows.iter().sum::<usize>();
        let row = rows.iter().position(|bytes| {
            at += bytes;
            byte < at
        });
        format!("row {} of the file", row.unwrap())
    }
}

#[test]
fn each_of_1000_flipped_bits_and_100_cuts_of_each_file_is_found_and_its_place_named() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(9, 9);
    let config = config(&rows, 9, TOP_K, 1.0);
    record(folder.path(), &rows, &config);
    let files = files(folder.path());
    let batch = rows.in_order(100).next().unwrap().unwrap();
    let refused = |file: &Path, place: &str| {
        let opened = open(folder.path(), &config);
        let verified = opened
            .as_ref()
            .map(|opened| opened.verify().map_err(|p| p.to_string()));
        let answer = opened
            .as_ref()
            .map(|opened| opened.answer(&batch, &Taps::none()));
        let problems = match (verified, answer) {
            (Ok(Err(verified)), Ok(Err(answered))) => [verified, answered.to_string()],
            (Err(problem), Err(_)) => [problem.to_string(), problem.to_string()],
            other => panic!("{other:?}"),
        };
        for problem in problems {
            let name = file.file_name().unwrap().to_str().unwrap();
            assert!(
                problem.contains(name) && problem.contains(place),
                "{problem}: {place}"
            );
        }
    };
    let mut generator = Seed(1).generator("flips", 0);
    let mut random = |below: usize| (rand::Rng::next_u64(&mut generator) % below as u64) as usize;
    let [manifest, shard] = files.as_slice() else {
        panic!("{files:?}");
    };
    let places = Places::of(&shard.1);
    for (file, content) in [manifest, shard] {
        for flip in 0..1000 {
            let (mut other, byte) = (content.clone(), random(content.len()));
            other[byte] ^= 1 << random(8);
            fs::write(file, &other).unwrap();
            match *file == shard.0 {
                true => refused(file, &places.name(byte)),
                false => refused(file, ""),
            }
            if flip < 100 {
                fs::write(file, &content[..random(content.len())]).unwrap();
                refused(file, "");
            }
        }
        fs::write(file, content).unwrap();
    }
    fs::remove_file(&shard.0).unwrap();
    refused(&shard.0, "");
}
