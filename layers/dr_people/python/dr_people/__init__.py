"""What people see, and how it reaches them: pages, mails, messages and reports, each from what the table holds."""
