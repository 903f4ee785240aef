"""Reports: pages, pictures and tables that are made from the files of run directories alone."""
