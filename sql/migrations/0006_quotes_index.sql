-- The newest quote of a side is read for each run of orders: a scan that reads a whole page of the index, however few rows
-- it wants. Emptier pages make that cheaper. Applies to pages that are written from now on; REINDEX does it for all.
alter index exchange.quotes_pkey set (fillfactor = 40);
