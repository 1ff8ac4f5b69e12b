//! A strict reader of the Prometheus text format 0.0.4, for tests: what it accepts, a Prometheus server accepts.

use std::collections::{BTreeMap, HashSet};

type Labels = Vec<(String, String)>;

/// The families of a page by name.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) families: BTreeMap<String, Family>,
}

#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

impl Sample {
    /// The upper bound, if this is a bucket.
    pub(crate) fn bound(&self) -> Option<f64> {
        let (_, bound) = self.labels.iter().find(|(name, _)| name == "le")?;
        number(bound)
    }
}

pub(crate) fn parse(text: &str) -> Result<Page, String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    let mut page = Page::default();
    let mut help: Option<(String, String)> = None;
    let mut open: Option<String> = None;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let failed = |why: &str| format!("{why}: {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').ok_or_else(|| failed("help without text"))?;
            if help.replace((name.to_owned(), text.to_owned())).is_some() {
                return Err(failed("help without a type"));
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| failed("type without a word"))?;
            let help = match help.take() {
                Some((of, text)) if of == name => text,
                Some(_) => return Err(failed("help of another family")),
                None => String::new(),
            };
            open_family(&mut page, name, kind, help).map_err(|why| failed(&why))?;
            open = Some(name.to_owned());
        } else if line.starts_with('#') {
            return Err(failed("comment that is neither help nor type"));
        } else {
            let sample = sample(line).map_err(|why| failed(&why))?;
            let name = open.as_ref().ok_or_else(|| failed("sample without a type"))?;
            let family = page.families.get_mut(name).expect("an open family is on the page");
            if !belongs(name, &family.kind, &sample.name) {
                return Err(failed("sample of another family"));
            }
            family.samples.push(sample);
        }
    }
    for (name, family) in &page.families {
        check_family(family).map_err(|why| format!("{why}: {name}"))?;
    }
    Ok(page)
}

fn open_family(page: &mut Page, name: &str, kind: &str, help: String) -> Result<(), String> {
    if !["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind) {
        return Err("unknown type".into());
    }
    if kind == "counter" && !name.ends_with("_total") {
        return Err("counter without _total".into());
    }
    check_name(name, ':')?;
    let family = Family { kind: kind.to_owned(), help, samples: Vec::new() };
    match page.families.insert(name.to_owned(), family) {
        Some(_) => Err("family twice".into()),
        None => Ok(()),
    }
}

fn belongs(family: &str, kind: &str, sample: &str) -> bool {
    match (sample.strip_prefix(family), kind) {
        (Some(suffix), "histogram") => ["_bucket", "_sum", "_count"].contains(&suffix),
        (Some(suffix), "summary") => ["", "_sum", "_count"].contains(&suffix),
        (Some(suffix), _) => suffix.is_empty(),
        (None, _) => false,
    }
}

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("sample without value")?;
    let (name, rest) = line.split_at(end);
    check_name(name, ':')?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value = number(value).ok_or("not a number")?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut labels = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = rest.split_once("=\"").ok_or("label without value")?;
        check_name(name, '_')?;
        let (value, after) = quoted(after)?;
        labels.push((name.to_owned(), value));
        rest = after.strip_prefix(',').unwrap_or(after);
        if rest.len() == after.len() && !rest.starts_with('}') {
            return Err("labels without a comma between them".into());
        }
    }
}

/// A label value up to its closing quote, unescaped, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, same @ ('\\' | '"'))) => same,
                _ => return Err("unknown escape".into()),
            }),
            other => value.push(other),
        }
    }
    Err("open quote".into())
}

fn check_name(name: &str, also: char) -> Result<(), String> {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == also);
    let all = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == also);
    if starts && all { Ok(()) } else { Err("bad name".into()) }
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        text if text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') => text.parse().ok(),
        _ => None,
    }
}

fn check_family(family: &Family) -> Result<(), String> {
    let mut seen = HashSet::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        labels.sort();
        if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err("label twice".into());
        }
        if !seen.insert((sample.name.clone(), labels)) {
            return Err("series twice".into());
        }
    }
    if family.kind == "histogram" { check_histogram(family) } else { Ok(()) }
}

/// Buckets of each series ascend, do not fall, and end with `+Inf`, which equals the count.
fn check_histogram(family: &Family) -> Result<(), String> {
    type BucketsAndCount = (Vec<(f64, f64)>, Option<f64>);
    let mut series: BTreeMap<Labels, BucketsAndCount> = BTreeMap::new();
    for sample in &family.samples {
        let labels = sample.labels.iter().filter(|(name, _)| name != "le").cloned().collect();
        let entry = series.entry(labels).or_default();
        if sample.name.ends_with("_bucket") {
            entry.0.push((sample.bound().ok_or("bucket without a bound")?, sample.value));
        } else if sample.name.ends_with("_count") {
            entry.1 = Some(sample.value);
        }
    }
    for (buckets, count) in series.values() {
        let rising = buckets.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1);
        let whole = buckets.last().is_some_and(|(bound, n)| bound.is_infinite() && Some(*n) == *count);
        if !rising || !whole {
            return Err("buckets do not add up".into());
        }
    }
    Ok(())
}
