use crate::LayerMap;
use std::fmt;

/// One line for each student layer: its number, a bar as wide as the teacher is deep, with `#` for
/// each layer that it learns from, and those layers in figures. No line break at the end.
impl fmt::Display for LayerMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let depth = self.teacher_depth();
        let layers = if depth == 1 { "layer" } else { "layers" };
        write!(f, "student  teacher ({depth} {layers})")?;
        let mut learning = self.by_student().peekable();
        for student in 0..self.student_depth() {
            let group = learning.next_if(|group| group.0 == student);
            let teacher = group.map_or(Vec::new(), |group| group.1);
            let mut bar = vec!['.'; depth];
            for &layer in &teacher {
                bar[layer] = '#';
            }
            let bar = String::from_iter(bar);
            write!(f, "\n{student:>7}  {bar}  {}", figures(&teacher))?;
        }
        Ok(())
    }
}

/// The layers in figures, neighbours drawn together: `0-2, 7`.
fn figures(layers: &[usize]) -> String {
    let runs = layers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run[0].to_string(),
    });
    if layers.is_empty() {
        "none".into()
    } else {
        runs.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use crate::LayerMapConfig;

    fn picture(rule: LayerMapConfig, student: usize, teacher: usize) -> String {
        format!("\n{}\n", rule.build(student, teacher).unwrap())
    }

    #[test]
    fn uniform_last_for_6_and_12() {
        let expected = "
student  teacher (12 layers)
      0  .#....#.....  1, 6
      1  ...#...#....  3, 7
      2  .....#..#...  5, 8
      3  .......#.#..  7, 9
      4  .........##.  9-10
      5  ...........#  11
";
        assert_eq!(picture(LayerMapConfig::UniformLast, 6, 12), expected);
    }

    #[test]
    fn balanced_for_24_and_32() {
        let expected = "
student  teacher (32 layers)
      0  #...............................  0
      1  .#..............................  1
      2  ..##............................  2-3
      3  ....#...........................  4
      4  .....#..........................  5
      5  ......##........................  6-7
      6  ........#.......................  8
      7  .........#......................  9
      8  ..........##....................  10-11
      9  ............#...................  12
     10  .............#..................  13
     11  ..............##................  14-15
     12  ................#...............  16
     13  .................#..............  17
     14  ..................##............  18-19
     15  ....................#...........  20
     16  .....................#..........  21
     17  ......................##........  22-23
     18  ........................#.......  24
     19  .........................#......  25
     20  ..........................##....  26-27
     21  ............................#...  28
     22  .............................#..  29
     23  ..............................##  30-31
";
        let rule = LayerMapConfig::UniformConsecutiveBalanced;
        assert_eq!(picture(rule, 24, 32), expected);
    }

    #[test]
    fn a_layer_that_learns_nothing_is_seen() {
        let expected = "
student  teacher (12 layers)
      0  ###.........  0-2
      1  ...###......  3-5
      2  ......###...  6-8
      3  .........###  9-11
      4  ............  none
";
        assert_eq!(picture(LayerMapConfig::UniformConsecutive, 5, 12), expected);
    }
}
