//! # The book
//!
//! Chapters in `chapters/`, and the builder that keeps what they show true: no line of code is typed into a chapter,
//! each is fetched from the crates when the book is built, and a chapter that asks for what is not there fails.
//!
//! | module | what it holds |
//! |---|---|
//! | [`source`] | a file of the repository, and the part of it that a chapter asks for |
//! | [`directive`] | what stands in a chapter between `{{#` and `}}` |
//! | [`listing`] | code, as it is shown |
//! | [`transcript`] | commands and their output, as they are shown |
//! | [`chapter`] | a chapter with everything in its place |
//! | [`course`] | the courses: what is treated where, and their labs |
//! | [`coverage`] | which lines of the steps no chapter shows |
//! | [`links`] | links that lead nowhere |
//! | [`build`] | all of it |

pub mod build;
pub mod chapter;
pub mod course;
pub mod coverage;
pub mod directive;
pub mod links;
pub mod listing;
pub mod source;
pub mod transcript;
