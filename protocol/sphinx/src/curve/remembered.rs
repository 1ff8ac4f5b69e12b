//! The backend with a memory of its products, for fuzz targets: their few keys meet the same points again and again, and a
//! product that was computed before need not be computed once more. No other build has it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Bytes32, backend};

/// Products that are remembered, some 130 bytes each; then all are forgotten. Of scalars too.
const MOST: usize = 1 << 16;

/// What a scalar and a point give.
type Products = HashMap<(Bytes32, Bytes32), Option<Bytes32>>;

thread_local! {
    static SCALARS: RefCell<HashMap<Bytes32, Arc<backend::Multiplier>>> = RefCell::default();
    static PRODUCTS: RefCell<Products> = RefCell::default();
}

/// As the backend's.
pub(crate) struct Multiplier {
    scalar: Bytes32,
    plain: Arc<backend::Multiplier>,
}

impl Multiplier {
    pub(crate) fn new(scalar: &Bytes32) -> Self {
        let plain = SCALARS.with_borrow_mut(|scalars| {
            forget_many(scalars);
            Arc::clone(scalars.entry(*scalar).or_insert_with(|| Arc::new(backend::Multiplier::new(scalar))))
        });
        Self { scalar: *scalar, plain }
    }

    pub(crate) fn base(&self) -> Bytes32 {
        self.plain.base()
    }

    pub(crate) fn times(&self, point: &Bytes32) -> Option<Zeroizing<Bytes32>> {
        product(&self.scalar, point, || self.plain.times(point))
    }
}

pub(crate) fn x25519(scalar: &Bytes32, point: &Bytes32) -> Option<Zeroizing<Bytes32>> {
    product(scalar, point, || backend::x25519(scalar, point))
}

fn product(
    scalar: &Bytes32,
    point: &Bytes32,
    compute: impl FnOnce() -> Option<Zeroizing<Bytes32>>,
) -> Option<Zeroizing<Bytes32>> {
    let product = PRODUCTS.with_borrow_mut(|products| {
        forget_many(products);
        *products.entry((*scalar, *point)).or_insert_with(|| compute().map(|product| *product))
    });
    product.map(Zeroizing::new)
}

fn forget_many<K, V>(memory: &mut HashMap<K, V>) {
    if memory.len() >= MOST {
        memory.clear();
    }
}
