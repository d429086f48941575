//! Which name means which image: the entries of the layout's `index.json`, and how they change.
//!
//! Pure functions on a list. An entry is the descriptor of a *platform's* manifest with two annotations: the name, if it
//! has one, and the source, `REPOSITORY@DIGEST` as it was pulled, where the digest may be that of a whole index.

use overlay_layers::Digest;

use crate::manifest::Descriptor;
use crate::reference::Reference;

/// The standard annotation with a name; tools select by it.
const NAME: &str = "org.opencontainers.image.ref.name";
/// Our annotation with the source.
const SOURCE: &str = "mini-docker.source";

/// The entries, in the order they were made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Names(pub Vec<Descriptor>);

/// The name of an entry. None for a nameless entry, and for a stranger's entry with a name that is no reference.
pub fn name_of(entry: &Descriptor) -> Option<Reference> {
    annotation(entry, NAME)
}

/// Where an entry was pulled from. None for images made here, and for names given by a user.
pub fn source_of(entry: &Descriptor) -> Option<Reference> {
    annotation(entry, SOURCE)
}

fn annotation(entry: &Descriptor, key: &str) -> Option<Reference> {
    entry.annotations.as_ref()?.get(key)?.parse().ok()
}

fn annotate(entry: &mut Descriptor, key: &str, value: Option<&Reference>) {
    let annotations = entry.annotations.get_or_insert_default();
    match value {
        Some(value) => annotations.insert(key.to_owned(), value.to_string()),
        None => annotations.remove(key),
    };
    entry.annotations.take_if(|annotations| annotations.is_empty());
}

impl Names {
    /// The entry that `name` means: by its digest if it has one, else by its tag.
    pub fn find(&self, name: &Reference) -> Option<&Descriptor> {
        let by_source = |digest: Digest| {
            let wanted = name.with_digest(digest);
            self.0.iter().find(|entry| {
                let same_repository = || {
                    name_of(entry)
                        .or_else(|| source_of(entry))
                        .is_some_and(|n| n.repository() == name.repository())
                };
                source_of(entry) == Some(wanted.clone()) || entry.digest == digest && same_repository()
            })
        };
        match name.digest() {
            Some(digest) => by_source(digest),
            None => self.0.iter().find(|entry| name_of(entry).as_ref() == Some(name)),
        }
    }

    /// Makes `name` mean this manifest, or with no name records only that it came from `source`.
    ///
    /// An image that loses its last name by this stays as a nameless entry: containers may still run on it, and the
    /// user has not asked for its removal. One without even a source would be out of reach but by its ID.
    pub fn point(&mut self, name: Option<&Reference>, manifest: &Descriptor, source: Option<&Reference>) {
        let digest = manifest.digest;
        for entry in &mut self.0 {
            if name.is_some() && name_of(entry).as_ref() == name && entry.digest != digest {
                annotate(entry, NAME, None);
            }
        }
        let same = |entry: &&mut Descriptor| entry.digest == digest && name_of(entry).as_ref() == name;
        match self.0.iter_mut().find(same) {
            // Re-tagging what was pulled under this very name must not forget where it came from.
            Some(entry) if source.is_some() && name.is_some() => annotate(entry, SOURCE, source),
            Some(entry) if source_of(entry).as_ref() == source || source.is_none() => {}
            _ => {
                let mut entry = Descriptor { annotations: None, ..manifest.clone() };
                annotate(&mut entry, NAME, name);
                annotate(&mut entry, SOURCE, source);
                self.0.push(entry);
            }
        }
        self.drop_superfluous();
    }

    /// Takes a name away, and with it the entry; by digest only the source, if the entry has a name as well. False if
    /// nothing has this name.
    pub fn take(&mut self, name: &Reference) -> bool {
        let Some(entry) = self.find(name).cloned() else { return false };
        if name.digest().is_some() && name_of(&entry).is_some() {
            let same = |other: &&mut Descriptor| **other == entry;
            self.0.iter_mut().filter(same).for_each(|entry| annotate(entry, SOURCE, None));
        } else {
            self.0.retain(|other| *other != entry);
        }
        true
    }

    /// A nameless entry is only there to hold an image, or a source, that no other entry holds.
    fn drop_superfluous(&mut self) {
        let entries = self.0.clone();
        let nameless = |entry: &Descriptor| !entry.annotations.as_ref().is_some_and(|a| a.contains_key(NAME));
        let mut number = 0;
        self.0.retain(|entry| {
            let mine = number;
            number += 1;
            let holds = |(other_number, other): (usize, &Descriptor)| {
                other_number != mine
                    && other.digest == entry.digest
                    && (source_of(entry).is_none() || source_of(other) == source_of(entry))
                    // Of two equal nameless ones, the first stays.
                    && (!nameless(other) || other_number < mine)
            };
            !nameless(entry) || !entries.iter().enumerate().any(holds)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(content: &str) -> Descriptor {
        Descriptor::of(crate::manifest::OCI_MANIFEST, &Digest::of(content.as_bytes()), 1)
    }

    fn reference(text: &str) -> Reference {
        text.parse().expect(text)
    }

    fn source(repository: &str, content: &str) -> Reference {
        reference(repository).with_digest(Digest::of(content.as_bytes()))
    }

    /// One line an entry, digests by the content's name.
    fn shown(names: &Names) -> String {
        let label = |digest: Digest| {
            let known = ["one", "two", "three", "index"];
            known.into_iter().find(|content| Digest::of(content.as_bytes()) == digest).unwrap_or("?")
        };
        let text = |entry: &Descriptor| {
            let name = name_of(entry).map_or("-".to_owned(), |name| name.familiar());
            let source = source_of(entry).map_or("-".to_owned(), |s| {
                format!("{}@{}", s.familiar_repository(), label(s.digest().expect("source")))
            });
            format!("{name} -> {} from {source}\n", label(entry.digest))
        };
        names.0.iter().map(text).collect()
    }

    #[test]
    fn a_moved_name_leaves_its_image() {
        let mut names = Names::default();
        let debian = reference("debian:12");
        names.point(Some(&debian), &manifest("one"), Some(&source("debian", "index")));
        names.point(Some(&reference("mine:1")), &manifest("one"), None);
        names.point(Some(&debian), &manifest("two"), Some(&source("debian", "two")));
        insta::assert_snapshot!(shown(&names), @r"
        - -> one from debian@index
        mine:1 -> one from -
        debian:12 -> two from debian@two
        ");
        names.point(Some(&debian), &manifest("three"), Some(&source("debian", "three")));
        insta::assert_snapshot!(shown(&names), @r"
        - -> one from debian@index
        mine:1 -> one from -
        - -> two from debian@two
        debian:12 -> three from debian@three
        ");
        assert_eq!(names.find(&debian).map(|e| e.digest), Some(Digest::of(b"three")));
        assert_eq!(names.find(&source("debian", "index")).map(|e| e.digest), Some(Digest::of(b"one")));
        assert_eq!(names.find(&source("other", "index")), None);
    }

    #[test]
    fn a_name_comes_to_what_was_nameless() {
        let mut names = Names::default();
        names.point(None, &manifest("one"), Some(&source("debian", "one")));
        names.point(None, &manifest("one"), Some(&source("debian", "one")));
        insta::assert_snapshot!(shown(&names), @"- -> one from debian@one");
        names.point(Some(&reference("debian:12")), &manifest("one"), Some(&source("debian", "one")));
        insta::assert_snapshot!(shown(&names), @"debian:12 -> one from debian@one");
        names.point(Some(&reference("debian:12")), &manifest("one"), None);
        insta::assert_snapshot!(shown(&names), @"debian:12 -> one from debian@one");
    }

    #[test]
    fn taken_by_tag_and_by_digest() {
        let mut names = Names::default();
        let (debian, digest) = (reference("debian:12"), source("debian", "index"));
        names.point(Some(&debian), &manifest("one"), Some(&digest));
        assert!(!names.take(&reference("debian:13")));
        assert!(names.take(&digest));
        insta::assert_snapshot!(shown(&names), @"debian:12 -> one from -");
        assert!(names.take(&debian));
        insta::assert_snapshot!(shown(&names), @"");
        names.point(None, &manifest("one"), Some(&digest));
        assert!(names.take(&digest));
        insta::assert_snapshot!(shown(&names), @"");
    }

    #[test]
    fn images_made_here_move_too() {
        let mut names = Names::default();
        names.point(Some(&reference("app")), &manifest("one"), None);
        names.point(Some(&reference("app")), &manifest("two"), None);
        insta::assert_snapshot!(shown(&names), @r"
        - -> one from -
        app -> two from -
        ");
        names.point(Some(&reference("app")), &manifest("one"), None);
        insta::assert_snapshot!(shown(&names), @r"
        - -> two from -
        app -> one from -
        ");
    }

    #[test]
    fn strangers_entries_stay() {
        let mut stranger = manifest("one");
        stranger.annotations = Some([(NAME.to_owned(), "Not A Reference".to_owned())].into());
        let mut names = Names(vec![stranger.clone()]);
        names.point(Some(&reference("app")), &manifest("one"), None);
        names.point(Some(&reference("app")), &manifest("two"), None);
        assert!(names.0.contains(&stranger));
    }
}
