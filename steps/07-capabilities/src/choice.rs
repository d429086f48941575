//! Which capabilities a container gets.

use crate::error::{Error, Result};
use crate::set::Set;

/// The word that stands for all capabilities.
const ALL: &str = "ALL";

/// Docker's default with `added` and without `dropped`, each a list of names or `ALL`, as far as `available` goes: the
/// bounding set of the process that starts the container.
///
/// With `ALL` among the added, it is everything but what is dropped; with `ALL` among the dropped, nothing but what is
/// added. What is named in both lists is given.
///
/// # Errors
/// Names that there are not, and capabilities added by name that are not available.
pub fn choose(added: &[String], dropped: &[String], available: Set) -> Result<Set> {
    let (all_added, added) = read(added)?;
    let (all_dropped, dropped) = read(dropped)?;
    if !available.contains(added) {
        return Err(Error::Unavailable(added.without(available)));
    }
    let default: Set = Set::DEFAULT.iter().copied().collect();
    let chosen = if all_added {
        Set::named().without(dropped)
    } else if all_dropped {
        added
    } else {
        default.without(dropped).or(added)
    };
    Ok(chosen.and(available))
}

/// Looks whether all of `names` are capabilities, or `ALL`.
///
/// # Errors
/// [`Error::Unknown`].
pub fn check(names: &[String]) -> Result<()> {
    read(names).map(drop)
}

/// Whether `ALL` is in a list, and the others in it.
fn read(names: &[String]) -> Result<(bool, Set)> {
    let mut all = false;
    let mut set = Set::EMPTY;
    for name in names {
        if name.eq_ignore_ascii_case(ALL) {
            all = true;
        } else {
            set = set.or(Set::of(name)?);
        }
    }
    Ok((all, set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_and_dropped() {
        let most = Set::named().without(Set::of("sys_resource").unwrap());
        let table: String = [
            ("", ""),
            ("net_admin", ""),
            ("", "net_raw mknod"),
            ("net_bind_service", "all"),
            ("ALL", ""),
            ("ALL", "sys_admin CAP_SYS_MODULE"),
            ("ALL", "ALL"),
            ("chown", "chown"),
            ("sys_resource", ""),
            ("odd", ""),
            ("", "CAP_ODD"),
        ]
        .into_iter()
        .map(|(added, dropped)| {
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            match choose(&words(added), &words(dropped), most) {
                Ok(set) => format!("+[{added}] -[{dropped}]\n  {:016x} {set}\n", set.bits()),
                Err(error) => format!("+[{added}] -[{dropped}]\n  {error}\n"),
            }
        })
        .collect();
        insta::assert_snapshot!(table);
    }
}
