/// The paper's groups: k = ceil(t / s) teacher layers for each student layer in turn, as long as
/// there are any. Needs s <= t.
///
/// The paper writes [k(i - 1), k i], counting from 1. Read with both ends it would give k + 1
/// layers, neighbours one in common, and the first a layer 0 that is none: one end is exclusive.
pub(crate) fn ceil(student: usize, teacher: usize) -> Vec<(usize, usize)> {
    let size = teacher.div_ceil(student);
    (0..teacher).map(|layer| (layer / size, layer)).collect()
}

/// Groups whose sizes differ by at most one: floor(i t / s) to floor((i + 1) t / s), exclusive.
/// Needs s <= t.
pub(crate) fn balanced(student: usize, teacher: usize) -> Vec<(usize, usize)> {
    let start = |layer| layer * teacher / student;
    (0..student)
        .flat_map(|layer| (start(layer)..start(layer + 1)).map(move |of| (layer, of)))
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::{LayerMap, LayerMapConfig};

    fn both(student: usize, teacher: usize) -> [LayerMap; 2] {
        [
            LayerMapConfig::UniformConsecutive,
            LayerMapConfig::UniformConsecutiveBalanced,
        ]
        .map(|rule| rule.build(student, teacher).unwrap())
    }

    fn groups(map: &LayerMap) -> Vec<(usize, Vec<usize>)> {
        map.by_student().collect()
    }

    #[test]
    fn a_student_of_5_and_a_teacher_of_12() {
        let [ceil, balanced] = both(5, 12);
        assert_eq!(
            groups(&ceil),
            // Student layer 4 learns nothing.
            [
                (0, vec![0, 1, 2]),
                (1, vec![3, 4, 5]),
                (2, vec![6, 7, 8]),
                (3, vec![9, 10, 11]),
            ]
        );
        assert_eq!(
            groups(&balanced),
            [
                (0, vec![0, 1]),
                (1, vec![2, 3]),
                (2, vec![4, 5, 6]),
                (3, vec![7, 8]),
                (4, vec![9, 10, 11]),
            ]
        );
    }

    #[test]
    fn a_student_of_20_and_a_teacher_of_32() {
        let [ceil, balanced] = both(20, 32);
        assert_eq!(
            groups(&ceil),
            // Student layers 16 to 19 learn nothing.
            [
                (0, vec![0, 1]),
                (1, vec![2, 3]),
                (2, vec![4, 5]),
                (3, vec![6, 7]),
                (4, vec![8, 9]),
                (5, vec![10, 11]),
                (6, vec![12, 13]),
                (7, vec![14, 15]),
                (8, vec![16, 17]),
                (9, vec![18, 19]),
                (10, vec![20, 21]),
                (11, vec![22, 23]),
                (12, vec![24, 25]),
                (13, vec![26, 27]),
                (14, vec![28, 29]),
                (15, vec![30, 31]),
            ]
        );
        assert_eq!(
            groups(&balanced),
            [
                (0, vec![0]),
                (1, vec![1, 2]),
                (2, vec![3]),
                (3, vec![4, 5]),
                (4, vec![6, 7]),
                (5, vec![8]),
                (6, vec![9, 10]),
                (7, vec![11]),
                (8, vec![12, 13]),
                (9, vec![14, 15]),
                (10, vec![16]),
                (11, vec![17, 18]),
                (12, vec![19]),
                (13, vec![20, 21]),
                (14, vec![22, 23]),
                (15, vec![24]),
                (16, vec![25, 26]),
                (17, vec![27]),
                (18, vec![28, 29]),
                (19, vec![30, 31]),
            ]
        );
    }

    #[test]
    fn groups_hold_each_teacher_layer_once_and_in_order() {
        for teacher in 1..=48 {
            for student in 1..=teacher {
                let [ceil, balanced] = both(student, teacher);
                for map in [&ceil, &balanced] {
                    assert!(map.pairs().iter().map(|pair| pair.1).eq(0..teacher));
                }

                let k = teacher.div_ceil(student);
                let ceil_groups = groups(&ceil);
                let (last, full) = ceil_groups.split_last().unwrap();
                assert!(full.iter().all(|group| group.1.len() == k));
                assert!((1..=k).contains(&last.1.len()));
                // Only the last student layers are left out, and how many is known.
                let learning = teacher.div_ceil(k);
                assert!(ceil.student_layers().into_iter().eq(0..learning));

                assert!(balanced.student_layers().into_iter().eq(0..student));
                let sizes = teacher / student..=k;
                assert!(
                    groups(&balanced)
                        .iter()
                        .all(|group| sizes.contains(&group.1.len()))
                );

                assert_eq!(
                    ceil == balanced,
                    teacher % student == 0,
                    "{student} {teacher}"
                );
            }
        }
    }
}
