//! Every bound of the product, in one place: what it is, why this value, and what happens when it is reached.
