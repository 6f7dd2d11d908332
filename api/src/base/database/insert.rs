//! Rows that are inserted if a change returns a row.

use sea_orm::{
    ActiveModelTrait, DbBackend, EntityName, EntityTrait, IdenStatic, Iterable, Statement, Value,
    Values,
};

/// A row to insert, of texts and whole numbers.
#[derive(Debug, Clone)]
pub(crate) struct Insert {
    table: &'static str,
    columns: Vec<(&'static str, Value)>,
}

impl Insert {
    /// The columns of a row that are set.
    pub(crate) fn of<A: ActiveModelTrait>(row: &A) -> Self {
        let columns = <A::Entity as EntityTrait>::Column::iter();
        let set = |column| Some((IdenStatic::as_str(&column), row.get(column).into_value()?));
        Self {
            table: A::Entity::default().table_name(),
            columns: columns.filter_map(set).collect(),
        }
    }

    /// The statement, with its values numbered from `first`. With `from`, it inserts a row for each of that table.
    fn write(self, first: usize, from: Option<&str>) -> (String, Vec<Value>) {
        let (mut names, mut places, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (name, value)) in (first..).zip(self.columns) {
            let kind = if matches!(value, Value::BigInt(_)) { "bigint" } else { "text" };
            names.push(format!("\"{name}\""));
            places.push(format!("cast(${place} as {kind})"));
            values.push(value);
        }
        let from = from.map_or(String::new(), |table| format!(" from {table}"));
        let (names, places) = (names.join(", "), places.join(", "));
        (format!("insert into {} ({names}) select {places}{from}", self.table), values)
    }

    /// The statement that inserts the row, on SQLite.
    pub(super) fn alone(self) -> Statement {
        let (sql, values) = self.write(1, None);
        Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)
    }
}

/// One statement of PostgreSQL that makes a change and inserts the rows if the change returned a row. It returns a row if
/// the change did.
pub(super) fn after_change(change: Statement, inserts: Vec<Insert>) -> Statement {
    let mut sql = format!("with changed as ({})", change.sql);
    let mut values = change.values.map_or_else(Vec::new, |Values(values)| values);
    for (number, insert) in inserts.into_iter().enumerate() {
        let (text, its) = insert.write(values.len() + 1, Some("changed"));
        sql.push_str(&format!(", inserted_{number} as ({text})"));
        values.extend(its);
    }
    sql.push_str(" select 1 from changed");
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_inserted_for_the_row_that_changed() {
        let change = || {
            let sql = "update a set b = $1 where c = $2 returning c";
            Statement::from_sql_and_values(DbBackend::Postgres, sql, [1.into(), 2.into()])
        };
        let insert =
            || Insert { table: "d", columns: vec![("e", "x".into()), ("f", 1_i64.into())] };
        let together = after_change(change(), vec![insert(), insert()]);
        assert_eq!(
            together.sql,
            "with changed as (update a set b = $1 where c = $2 returning c), \
             inserted_0 as (insert into d (\"e\", \"f\") select cast($3 as text), cast($4 as bigint) from changed), \
             inserted_1 as (insert into d (\"e\", \"f\") select cast($5 as text), cast($6 as bigint) from changed) \
             select 1 from changed"
        );
        assert_eq!(together.values.unwrap().0.len(), 6);
        assert_eq!(
            insert().alone().sql,
            "insert into d (\"e\", \"f\") select cast($1 as text), cast($2 as bigint)"
        );
    }
}
