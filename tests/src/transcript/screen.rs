//! What a person sees of what a program writes to a terminal: as many lines as it takes, of any width.

/// The lines on the screen after these bytes. The last one is the one that the cursor was left in, if it is not empty.
pub fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut screen = Screen::default();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => match characters.next() {
                Some('[') => {
                    let parameters: String =
                        std::iter::from_fn(|| characters.next_if(|next| !('@'..='~').contains(next)))
                            .collect();
                    screen.control(&parameters, characters.next().unwrap_or_default());
                }
                // A title, which ends with a bell or an escape sequence of its own.
                Some(']') => while characters.next_if(|next| !['\x07', '\x1b'].contains(next)).is_some() {},
                _ => {}
            },
            '\r' => screen.column = 0,
            '\n' => screen.row += 1,
            '\x08' => screen.column = screen.column.saturating_sub(1),
            '\t' => (0..8 - screen.column % 8).for_each(|_| screen.put(' ')),
            other if other.is_control() => {}
            other => screen.put(other),
        }
    }
    let (last, mut lines) = (screen.row, screen.rows);
    lines.truncate((last + 1).max(lines.len()));
    let mut lines: Vec<String> = lines.into_iter().map(String::from_iter).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

#[derive(Default)]
struct Screen {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Screen {
    fn line(&mut self) -> &mut Vec<char> {
        let rows = self.rows.len().max(self.row + 1);
        self.rows.resize(rows, Vec::new());
        &mut self.rows[self.row]
    }

    fn put(&mut self, character: char) {
        let column = self.column;
        let line = self.line();
        let width = line.len().max(column + 1);
        line.resize(width, ' ');
        line[column] = character;
        self.column += 1;
    }

    /// A control sequence, as far as programs in our examples use them: to move the cursor and to erase.
    fn control(&mut self, parameters: &str, last: char) {
        let number = parameters.parse::<usize>().ok();
        let count = number.unwrap_or(1).max(1);
        let column = self.column;
        match last {
            'A' => self.row = self.row.saturating_sub(count),
            'B' => self.row += count,
            'C' => self.column += count,
            'D' => self.column = column.saturating_sub(count),
            'G' => self.column = count - 1,
            'K' if number == Some(2) => self.line().clear(),
            'K' if number.unwrap_or(0) == 0 => self.line().truncate(column),
            'J' if number.unwrap_or(0) == 0 => {
                self.line().truncate(column);
                self.rows.truncate(self.row + 1);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn what_is_written_over_is_gone() {
        let progress =
            b"one\r\nlayer: 10%\r\nlayer: 5%\r\n\x1b[2A\x1b[2Klayer: done\r\n\x1b[Klayer: done\r\nend\r\n";
        assert_eq!(lines(progress), ["one", "layer: done", "layer: done", "end"]);
        assert_eq!(lines(b"\x1b[?2004h\x1b]0;title\x07root@box:/# l\x08ps"), ["root@box:/# ps"]);
        assert_eq!(lines(b"a\tb\r\n\r\n"), ["a       b"]);
    }
}
