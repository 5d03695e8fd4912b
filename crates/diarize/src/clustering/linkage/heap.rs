//! A priority queue of clusters by the distance of their nearest neighbour.

/// A binary heap of the keys `0..n` by value, least first, whose values can change. Equal values have the order of scipy's
/// `_structures.pxi`, `Heap`.
pub(super) struct Heap {
    /// The heap of keys.
    keys: Vec<usize>,
    /// The position of each key in `keys`.
    places: Vec<usize>,
    /// The value of each key.
    values: Vec<f64>,
}

impl Heap {
    pub(super) fn new(values: Vec<f64>) -> Self {
        let mut heap = Self {
            keys: (0..values.len()).collect(),
            places: (0..values.len()).collect(),
            values,
        };
        for place in (0..heap.keys.len() / 2).rev() {
            heap.sink(place);
        }
        heap
    }

    /// The key with the least value; there must be one.
    pub(super) fn first(&self) -> usize {
        self.keys[0]
    }

    pub(super) fn value(&self, key: usize) -> f64 {
        self.values[key]
    }

    /// Removes the key with the least value; there must be one.
    pub(super) fn remove_first(&mut self) {
        self.swap(0, self.keys.len() - 1);
        self.keys.pop();
        self.sink(0);
    }

    pub(super) fn change(&mut self, key: usize, value: f64) {
        let smaller = value < self.values[key];
        self.values[key] = value;
        if smaller {
            self.rise(self.places[key]);
        } else {
            self.sink(self.places[key]);
        }
    }

    fn at(&self, place: usize) -> f64 {
        self.values[self.keys[place]]
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.keys.swap(a, b);
        self.places[self.keys[a]] = a;
        self.places[self.keys[b]] = b;
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.at((place - 1) / 2) > self.at(place) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let mut child = 2 * place + 1;
            if child >= self.keys.len() {
                return;
            }
            if child + 1 < self.keys.len() && self.at(child + 1) < self.at(child) {
                child += 1;
            }
            if self.at(place) <= self.at(child) {
                return;
            }
            self.swap(place, child);
            place = child;
        }
    }
}
