//! The rules of the book, one by one and over random histories.
