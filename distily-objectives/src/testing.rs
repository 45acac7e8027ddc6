//! A batch that a student and a teacher have read, for tests of what compares them.

use crate::features::testing::random;
use burn::tensor::{Int, Tensor};
use distily_core::{Answer, Comparison, Distribution, Features, Head, Outputs, Taps, TokenBatch};

const SHAPE: [usize; 2] = [2, 5];
const WIDTH: usize = 4;

pub(crate) struct Scene {
    pub(crate) batch: TokenBatch,
    student: Outputs,
    head: Head,
    pub(crate) teacher: Answer,
}

impl Scene {
    /// With the vocabularies of a student and a teacher; two tokens are padding.
    pub(crate) fn new(vocabularies: [usize; 2], seed: u64) -> Self {
        let [rows, length] = SHAPE;
        let [of_student, of_teacher] = vocabularies.map(|vocabulary| vocabulary as u64);
        let head = |vocabulary: u64, seed| {
            Head::by_vocabulary(random::<2>([vocabulary as usize, WIDTH], seed) * 3.0)
        };
        let hidden = |seed| random::<3>([rows, length, WIDTH], seed);
        let ids = (0..(rows * length) as u64).map(|at| ((at * 7 + seed % 100) % of_student) as u32);
        let segments = (0..rows * length).map(|at| u32::from(at + 2 < rows * length));
        let student = head(of_student, seed);
        let teacher = Box::new(head(of_teacher, seed ^ 1));
        Self {
            batch: TokenBatch::packed(ids.collect(), segments.collect(), SHAPE).unwrap(),
            student: Outputs::new(hidden(seed ^ 2), &student, &Taps::none()),
            head: student,
            teacher: Answer {
                distribution: Distribution::Hidden(hidden(seed ^ 3), teacher),
                features: Features::default(),
            },
        }
    }

    /// The same with a teacher that knows every token's first id alone.
    pub(crate) fn with_sparse_teacher(mut self) -> Self {
        let [rows, length] = SHAPE;
        let device = self.student.hidden.device();
        self.teacher.distribution = Distribution::Sparse {
            ids: Tensor::zeros([rows, length, 1], &device),
            probabilities: Tensor::ones([rows, length, 1], &device),
            tail: Tensor::zeros([rows, length], &device),
            temperature: 1.0,
        };
        self
    }

    pub(crate) fn comparison(&self, step: usize) -> Comparison<'_> {
        Comparison {
            student: &self.student,
            head: &self.head,
            teacher: &self.teacher,
            batch: &self.batch,
            predictions: self.batch.predictions(),
            step,
        }
    }

    /// The logits of student and teacher at every token, and its weight.
    pub(crate) fn logits(&self) -> (Tensor<2>, Tensor<2>, Tensor<1>) {
        let Distribution::Hidden(hidden, head) = &self.teacher.distribution else {
            unreachable!("it is a live teacher's");
        };
        let student = self.head.logits(self.student.hidden.clone()).flatten(0, 1);
        let teacher = head.logits(hidden.clone()).flatten(0, 1);
        (
            student,
            teacher,
            self.comparison(0).weights(&hidden.device()),
        )
    }

    pub(crate) fn targets(&self) -> Tensor<1, Int> {
        self.batch.target_ids(&self.student.hidden.device())
    }
}
